//! Failure and crash after every step: afterwards all is there, or nothing.
use super::step::{Halt, Steps};
use super::*;
use crate::remove_tree;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

struct Bed {
    _dir: tempfile::TempDir,
    run: PathBuf,
    work: PathBuf,
}

fn whiteout(path: &Path) {
    mknodat(CWD, path, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
}

impl Bed {
    /// A layer with every kind of change.
    fn new() -> Bed {
        let dir = tempfile::tempdir().unwrap();
        let (run, work) = (dir.path().join("run"), dir.path().join("ws"));
        fs::create_dir(&run).unwrap();
        for d in ["", "gone/deep", "becomes-file/x", "mode", "locked"] {
            fs::create_dir_all(work.join(d)).unwrap();
        }
        for (f, text) in [
            ("changed", "old\n"),
            ("removed", "bye\n"),
            ("becomes-dir", "a file\n"),
            ("becomes-link", "a file\n"),
            ("gone/deep/a", "a\n"),
            ("gone/b", "b\n"),
            ("becomes-file/x/y", "y\n"),
            ("executable", "#!\n"),
            ("locked/inner", "inner\n"),
        ] {
            fs::write(work.join(f), text).unwrap();
        }
        symlink("changed", work.join("link")).unwrap();
        fs::set_permissions(work.join("locked"), fs::Permissions::from_mode(0o555)).unwrap();
        let bed = Bed { _dir: dir, run, work };
        RunLayer::prepare(fd(&bed.run), fd(&bed.work)).unwrap();
        let up = bed.run.join("layer/upper");
        for d in ["new/inner", "becomes-dir", "mode"] {
            fs::create_dir_all(up.join(d)).unwrap();
        }
        for (f, text) in [
            ("changed", "new\n"),
            ("new/inner/f", "f\n"),
            ("becomes-dir/f", "f\n"),
            ("becomes-file", "now a file\n"),
            ("executable", "#!\n"),
            ("mode/added", "added\n"),
        ] {
            fs::write(up.join(f), text).unwrap();
        }
        symlink("new", up.join("link")).unwrap();
        symlink("changed", up.join("becomes-link")).unwrap();
        for name in ["removed", "gone", "locked"] {
            whiteout(&up.join(name));
        }
        fs::set_permissions(up.join("executable"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(up.join("mode"), fs::Permissions::from_mode(0o500)).unwrap();
        bed
    }

    fn open(&self) -> RunLayer {
        RunLayer::open(fd(&self.run), fd(&self.work)).unwrap()
    }

    fn tree(&self) -> BTreeMap<PathBuf, String> {
        let mut all = BTreeMap::new();
        let mut todo = vec![self.work.clone()];
        while let Some(dir) = todo.pop() {
            for entry in fs::read_dir(&dir).unwrap() {
                let path = entry.unwrap().path();
                let meta = fs::symlink_metadata(&path).unwrap();
                let body = if meta.is_dir() {
                    todo.push(path.clone());
                    "dir".into()
                } else if meta.is_symlink() {
                    format!("-> {}", fs::read_link(&path).unwrap().display())
                } else {
                    fs::read_to_string(&path).unwrap()
                };
                all.insert(path, format!("{:o} {body}", meta.permissions().mode()));
            }
        }
        all
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let dir = fd(self._dir.path());
        let _ = remove_tree(&dir, OsStr::new("ws"));
        let _ = remove_tree(&dir, OsStr::new("run"));
    }
}

fn fd(path: &Path) -> OwnedFd {
    rustix::fs::openat(
        CWD,
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .unwrap()
}

/// Halts at the n-th step.
struct At0 {
    n: usize,
    seen: usize,
    crash: bool,
}

impl Steps for At0 {
    fn reached(&mut self, _: &'static str) -> Result<(), Halt> {
        self.seen += 1;
        match self.seen == self.n {
            false => Ok(()),
            true if self.crash => Err(Halt::Crash),
            true => Err(Halt::Fail(Errno::NOSPC)),
        }
    }
}

fn halt(n: usize, crash: bool) -> At0 {
    At0 { n, seen: 0, crash }
}

fn finished() -> (BTreeMap<PathBuf, String>, usize) {
    let bed = Bed::new();
    let mut count = halt(usize::MAX, false);
    apply(&bed.open(), &ApplyOptions::default(), &mut count).unwrap();
    (relative(&bed, bed.tree()), count.seen)
}

fn relative(bed: &Bed, tree: BTreeMap<PathBuf, String>) -> BTreeMap<PathBuf, String> {
    tree.into_iter()
        .map(|(p, v)| (p.strip_prefix(&bed.work).unwrap().to_owned(), v))
        .collect()
}

#[test]
fn all_kinds_of_changes_are_applied() {
    let (tree, _) = finished();
    let has = |p: &str| tree.get(Path::new(p)).cloned();
    assert_eq!(has("changed").unwrap().split(' ').nth(1), Some("new\n"));
    assert_eq!(has("removed"), None);
    assert_eq!(has("gone/deep/a"), None);
    assert_eq!(has("gone"), None);
    assert_eq!(has("locked"), None);
    assert!(has("becomes-dir").unwrap().ends_with("dir") && has("becomes-dir/f").is_some());
    assert!(has("becomes-file").unwrap().ends_with("now a file\n"));
    assert!(has("becomes-link").unwrap().ends_with("-> changed"));
    assert!(has("link").unwrap().ends_with("-> new"));
    assert!(has("executable").unwrap().starts_with("100755"));
    assert!(has("mode").unwrap().starts_with("40500"));
    assert!(has("mode/added").is_some());
    assert!(
        !tree.keys().any(|p| p.to_string_lossy().contains("qila")),
        "no staging directory is left"
    );
}

#[test]
fn an_error_after_any_step_changes_nothing_and_a_retry_works() {
    let (expected, steps) = finished();
    assert!(steps > 20, "{steps} steps");
    for n in 1..=steps {
        let bed = Bed::new();
        let before = bed.tree();
        let error = apply(&bed.open(), &ApplyOptions::default(), &mut halt(n, false)).unwrap_err();
        assert!(matches!(error, ApplyError::NoSpace(_)), "step {n}: {error}");
        assert_eq!(bed.tree(), before, "step {n}");
        assert!(!is_unfinished(fd(&bed.run).as_fd()).unwrap());
        bed.open()
            .apply(&ApplyOptions {
                overwrite: true,
                ..Default::default()
            })
            .unwrap();
        assert_eq!(relative(&bed, bed.tree()), expected, "step {n}");
    }
}

#[test]
fn a_crash_after_any_step_is_undone_by_the_next_call() {
    let (expected, steps) = finished();
    for n in 1..=steps {
        let bed = Bed::new();
        let before = bed.tree();
        apply(&bed.open(), &ApplyOptions::default(), &mut halt(n, true)).unwrap_err();
        assert!(
            matches!(RunLayer::discard(fd(&bed.run)), Err(crate::RunError::Unfinished)),
            "step {n}"
        );
        let recovered = bed.open().recover().unwrap().unwrap();
        assert!(recovered.kept.is_empty() && !recovered.was_complete);
        assert_eq!(bed.tree(), before, "step {n}");
        assert!(
            bed.open().recover().unwrap().is_none(),
            "recovering twice is harmless"
        );
        bed.open()
            .apply(&ApplyOptions {
                overwrite: true,
                ..Default::default()
            })
            .unwrap();
        assert_eq!(relative(&bed, bed.tree()), expected, "step {n}");
    }
}

/// Crashes right after the commit point: the journal and the staging directory are still there.
#[test]
fn a_crash_past_the_commit_point_is_only_tidied_up() {
    let bed = Bed::new();
    let run = bed.open();
    let chosen = run.changes().unwrap().entries;
    assert!(work(&run, &chosen, LayerState::default(), 0, &mut Straight).is_ok());
    assert!(is_unfinished(run.run.as_fd()).unwrap());
    let after = run.recover().unwrap().unwrap();
    assert!(after.was_complete && after.undone == 0);
    assert_eq!(relative(&bed, bed.tree()), finished().0);
    assert!(matches!(
        run.apply(&ApplyOptions::default()),
        Err(ApplyError::AlreadyApplied)
    ));
}

#[test]
fn a_crash_during_recovery_is_recovered_from() {
    let (_, steps) = finished();
    let bed = Bed::new();
    let before = bed.tree();
    apply(&bed.open(), &ApplyOptions::default(), &mut halt(steps, true)).unwrap_err();
    let journal = Journal::read(fd(&bed.run).as_fd()).unwrap().unwrap();
    // The same operations, undone once in part by hand and then as a whole.
    let staging = fd(&bed.work.join(&journal.staging));
    for op in journal.ops.iter().rev().take(7) {
        assert!(recover::undo(fd(&bed.work).as_fd(), staging.as_fd(), op).is_ok());
    }
    bed.open().recover().unwrap().unwrap();
    assert_eq!(bed.tree(), before);
}

#[test]
fn what_the_host_changed_after_a_crash_is_kept_and_the_former_version_saved() {
    let (_, steps) = finished();
    let bed = Bed::new();
    apply(&bed.open(), &ApplyOptions::default(), &mut halt(steps, true)).unwrap_err();
    fs::write(bed.work.join("changed"), "edited on the host meanwhile\n").unwrap();
    let recovered = bed.open().recover().unwrap().unwrap();
    assert_eq!(recovered.kept, [PathBuf::from("changed")]);
    assert_eq!(
        fs::read_to_string(bed.work.join("changed")).unwrap(),
        "edited on the host meanwhile\n"
    );
    let saved = bed.work.join(recovered.saved_in.unwrap());
    let olds: Vec<String> = fs::read_dir(saved)
        .unwrap()
        .filter_map(|e| fs::read_to_string(e.unwrap().path()).ok())
        .collect();
    assert!(olds.contains(&"old\n".to_owned()), "{olds:?}");
    assert_eq!(
        fs::read_to_string(bed.work.join("removed")).unwrap(),
        "bye\n",
        "the rest is undone"
    );
}

/// Changes a file of the workspace in the moment between the check and the rename.
struct Meddle<'a>(&'a Path, &'static str);

impl Steps for Meddle<'_> {
    fn reached(&mut self, step: &'static str) -> Result<(), Halt> {
        if step == "journal written" {
            fs::write(self.0.join(self.1), "quicker\n").unwrap();
        }
        Ok(())
    }
}

#[test]
fn a_host_change_between_check_and_rename_is_a_conflict_and_survives() {
    for name in [
        "changed",
        "removed",
        "gone/added-meanwhile",
        "new",
        "becomes-file/added-meanwhile",
    ] {
        let bed = Bed::new();
        let mut before = bed.tree();
        let path = bed.work.join(name);
        let error = apply(
            &bed.open(),
            &ApplyOptions::default(),
            &mut Meddle(&bed.work, name),
        )
        .unwrap_err();
        assert!(matches!(error, ApplyError::Conflicts(_)), "{name}: {error}");
        before.insert(path.clone(), "100644 quicker\n".into());
        assert_eq!(bed.tree(), before, "{name}");
    }
}

/// Puts a symbolic link to a place outside where a directory was, in the moment before the operations.
struct Swap<'a>(&'a Path, &'a Path, &'static str);

impl Steps for Swap<'_> {
    fn reached(&mut self, step: &'static str) -> Result<(), Halt> {
        if step == "journal written" {
            fs::rename(self.0.join(self.2), self.0.join("aside")).unwrap();
            symlink(self.1, self.0.join(self.2)).unwrap();
        }
        Ok(())
    }
}

#[test]
fn a_directory_swapped_for_a_link_while_applying_leads_nowhere() {
    for name in ["mode", "gone", "becomes-file", "locked"] {
        let bed = Bed::new();
        let outside = bed._dir.path().join("run/outside");
        fs::create_dir_all(outside.join("deep")).unwrap();
        for file in ["b", "inner", "added"] {
            fs::write(outside.join(file), "canary").unwrap();
        }
        let error = apply(
            &bed.open(),
            &ApplyOptions::default(),
            &mut Swap(&bed.work, &outside, name),
        )
        .unwrap_err();
        assert!(
            matches!(error, ApplyError::Conflicts(_) | ApplyError::Failed(_)),
            "{name}: {error}"
        );
        for file in ["b", "inner", "added"] {
            assert_eq!(
                fs::read_to_string(outside.join(file)).unwrap(),
                "canary",
                "{name}"
            );
        }
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 4, "{name}");
        assert_eq!(
            fs::read_to_string(bed.work.join("changed")).unwrap(),
            "old\n",
            "{name}: undone"
        );
    }
}
