//! What apply carries over, refuses, and leaves alone.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test program: a panic is its verdict"
)]
mod common;
use common::{Bed, fd, set_attribute, tick, whiteout};
use qila_workspace::{ApplyError, ApplyOptions, ConflictReason, Progress, Risky, RunError, RunLayer};
use std::fs;
use std::path::{Path, PathBuf};

fn all() -> ApplyOptions {
    ApplyOptions::default()
}

fn only(paths: &[&str]) -> ApplyOptions {
    ApplyOptions {
        paths: Some(paths.iter().map(PathBuf::from).collect()),
        ..all()
    }
}

#[test]
fn a_second_apply_is_refused_with_what_to_do() {
    let bed = Bed::new(&[("a", "1\n")]);
    bed.agent("a", "2\n");
    let applied = bed.open().apply(&all()).unwrap();
    assert_eq!((applied.changes.len(), applied.left, applied.bytes), (1, 0, 2));
    assert_eq!(applied.digest.len(), 64);
    assert_eq!(bed.read("a"), "2\n");
    let again = bed.open().apply(&all()).unwrap_err();
    assert!(matches!(again, ApplyError::AlreadyApplied) && again.to_string().contains("qila discard"));
    fs::write(bed.work.join("a"), "3\n").unwrap();
    assert!(
        bed.changes().entries.is_empty(),
        "an applied run has nothing left to show"
    );
}

#[test]
fn the_digest_depends_on_what_is_applied() {
    let digest = |text: &str| {
        let bed = Bed::new(&[("a", "1\n")]);
        bed.agent("a", text);
        bed.open().apply(&all()).unwrap().digest
    };
    assert_eq!(digest("2\n"), digest("2\n"));
    assert_ne!(digest("2\n"), digest("3\n"));
}

#[test]
fn named_paths_are_applied_and_the_rest_later() {
    let bed = Bed::new(&[("a", "1\n"), ("d/old", "1\n")]);
    bed.agent("a", "2\n");
    bed.agent("new/deep/f", "f\n");
    bed.agent("new/deep/g", "g\n");
    whiteout(&bed.upper.join("d"));
    let first = bed.open().apply(&only(&["new/deep/f", "./d/"])).unwrap();
    let paths: Vec<_> = first.changes.iter().map(|c| c.path.to_str().unwrap()).collect();
    assert_eq!(paths, ["d", "d/old", "new", "new/deep", "new/deep/f"]);
    assert_eq!(
        (first.left, bed.open().state().unwrap().progress),
        (2, Progress::Partial)
    );
    assert_eq!(bed.read("a"), "1\n");
    assert!(!bed.work.join("d").exists() && !bed.work.join("new/deep/g").exists());
    // What was applied is the host's now: changing it is no conflict for the rest.
    tick();
    fs::write(bed.work.join("new/deep/f"), "mine\n").unwrap();
    let rest = bed.open().apply(&all()).unwrap();
    assert_eq!((rest.changes.len(), rest.left), (2, 0));
    assert_eq!(
        (bed.read("a"), bed.read("new/deep/f"), bed.read("new/deep/g")),
        ("2\n".into(), "mine\n".into(), "g\n".into())
    );
    assert_eq!(bed.open().state().unwrap().progress, Progress::Applied);
}

#[test]
fn unknown_paths_are_named_and_nothing_is_applied() {
    let bed = Bed::new(&[("a", "1\n")]);
    bed.agent("a", "2\n");
    for path in ["b", "../ws/a", "/etc/passwd", "aa"] {
        match bed.open().apply(&only(&["a", path])) {
            Err(ApplyError::NoSuchChange(paths)) => assert_eq!(paths, [PathBuf::from(path)]),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(bed.read("a"), "1\n");
}

#[test]
fn host_changes_since_the_launch_are_conflicts_each_listed() {
    let bed = Bed::new(&[
        ("edited", "1\n"),
        ("removed", "1\n"),
        ("gone", "1\n"),
        ("fine", "1\n"),
        ("same", "1\n"),
    ]);
    for name in ["edited", "created", "fine", "same"] {
        bed.agent(name, "agent\n");
    }
    // A file that was copied up carries this mark; then the host removes the original.
    bed.agent("removed", "agent\n");
    set_attribute(&bed.upper.join("removed"), "user.overlay.origin", b"");
    whiteout(&bed.upper.join("gone"));
    for (name, text) in [
        ("edited", "host\n"),
        ("created", "host\n"),
        ("gone", "host\n"),
        ("same", "agent\n"),
    ] {
        fs::write(bed.work.join(name), text).unwrap();
    }
    fs::remove_file(bed.work.join("removed")).unwrap();
    let Err(ApplyError::Conflicts(found)) = bed.open().apply(&all()) else {
        panic!("no conflict");
    };
    let found: Vec<_> = found
        .iter()
        .map(|c| (c.path.to_str().unwrap(), c.reason))
        .collect();
    use ConflictReason::{Changed, Removed};
    assert_eq!(
        found,
        [
            ("created", Changed),
            ("edited", Changed),
            ("gone", Changed),
            ("removed", Removed)
        ]
    );
    assert_eq!(
        (bed.read("fine"), bed.read("edited")),
        ("1\n".into(), "host\n".into())
    );
    bed.open().apply(&only(&["fine"])).unwrap();
    assert_eq!(bed.read("fine"), "agent\n");
    bed.open()
        .apply(&ApplyOptions {
            overwrite: true,
            ..all()
        })
        .unwrap();
    assert_eq!(
        (bed.read("edited"), bed.read("removed")),
        ("agent\n".into(), "agent\n".into())
    );
    assert!(!bed.work.join("gone").exists());
}

#[test]
fn a_moved_file_and_host_changes_elsewhere_are_no_conflicts() {
    let bed = Bed::new(&[("a", "1\n"), ("other/x", "1\n")]);
    bed.agent("b", "1\n");
    set_attribute(&bed.upper.join("b"), "user.overlay.origin", b"");
    whiteout(&bed.upper.join("a"));
    fs::write(bed.work.join("other/x"), "host\n").unwrap();
    bed.open().apply(&all()).unwrap();
    assert!(!bed.work.join("a").exists() && bed.work.join("b").exists());
    assert_eq!(bed.read("other/x"), "host\n");
}

#[test]
fn a_host_file_put_into_a_directory_that_the_agent_removed_is_a_conflict() {
    let bed = Bed::new(&[("d/a", "1\n")]);
    whiteout(&bed.upper.join("d"));
    fs::write(bed.work.join("d/precious"), "host\n").unwrap();
    assert!(matches!(bed.open().apply(&all()), Err(ApplyError::Conflicts(_))));
    assert_eq!(bed.read("d/precious"), "host\n");
    assert_eq!(bed.read("d/a"), "1\n");
}

#[test]
fn paths_that_the_host_obeys_need_to_be_named() {
    let bed = Bed::new(&[(".git/config", "[core]\n"), ("a", "1\n")]);
    bed.agent("a", "2\n");
    bed.agent(".git/hooks/pre-commit", "#!/bin/sh\n");
    bed.agent(".git/objects/ab/cd", "object");
    let Err(ApplyError::RiskyPaths(risky)) = bed.open().apply(&all()) else {
        panic!("applied");
    };
    assert_eq!(risky.len(), 1);
    assert_eq!(risky[0].0, Path::new(".git/hooks/pre-commit"));
    assert!(
        matches!(bed.open().apply(&only(&[".git"])), Err(ApplyError::RiskyPaths(_))),
        "a directory names it not"
    );
    let left = bed
        .open()
        .apply(&ApplyOptions {
            risky: Risky::Leave,
            ..all()
        })
        .unwrap();
    assert_eq!(
        (left.left, bed.read("a"), bed.read(".git/objects/ab/cd")),
        (1, "2\n".into(), "object".into())
    );
    assert!(!bed.work.join(".git/hooks/pre-commit").exists());
    bed.open().apply(&only(&[".git/hooks/pre-commit"])).unwrap();
    assert!(bed.work.join(".git/hooks/pre-commit").exists());
}

#[test]
fn risky_ones_may_be_included() {
    let bed = Bed::new(&[]);
    bed.agent(".envrc", "x\n");
    bed.open()
        .apply(&ApplyOptions {
            risky: Risky::Include,
            ..all()
        })
        .unwrap();
    assert!(bed.work.join(".envrc").exists());
}

#[test]
fn a_replaced_workspace_or_a_missing_baseline_is_refused() {
    let bed = Bed::new(&[("a", "1\n")]);
    bed.agent("a", "2\n");
    fs::rename(&bed.work, bed.dir.path().join("moved")).unwrap();
    fs::create_dir(&bed.work).unwrap();
    assert!(matches!(
        bed.open().apply(&all()),
        Err(ApplyError::WorkspaceReplaced)
    ));
    fs::remove_file(bed.run.join("baseline.json")).unwrap();
    assert!(matches!(bed.open().apply(&all()), Err(ApplyError::NoBaseline)));
    fs::write(bed.run.join("baseline.json"), "{torn").unwrap();
    assert!(matches!(bed.open().apply(&all()), Err(ApplyError::Baseline(_))));
}

#[test]
fn two_applies_at_once_are_refused() {
    let bed = Bed::new(&[("a", "1\n")]);
    bed.agent("a", "2\n");
    let locked = |path: &Path| {
        let fd = fd(path);
        rustix::fs::flock(&fd, rustix::fs::FlockOperation::LockExclusive).unwrap();
        fd
    };
    for path in [&bed.work, &bed.run.join("layer")] {
        let _other = locked(path);
        assert!(matches!(bed.open().apply(&all()), Err(ApplyError::Busy)));
    }
    let _run_itself = locked(&bed.run);
    bed.open().apply(&all()).unwrap();
}

#[test]
fn discarded_layers_are_gone_and_say_so() {
    let bed = Bed::new(&[("a", "1\n")]);
    bed.agent("d/a", "2\n");
    let removed = RunLayer::discard(fd(&bed.run)).unwrap();
    assert_eq!((removed.files, removed.directories), (1, 4));
    assert!(!bed.run.join("layer").exists());
    assert!(matches!(
        RunLayer::open(fd(&bed.run), fd(&bed.work)),
        Err(RunError::Discarded)
    ));
    assert!(matches!(
        RunLayer::discard(fd(&bed.run)),
        Err(RunError::Discarded)
    ));
    assert_eq!(bed.read("a"), "1\n");
}

#[test]
fn a_run_without_a_layer_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(
        RunLayer::open(fd(dir.path()), fd(dir.path())),
        Err(RunError::NoLayer)
    ));
    assert!(matches!(
        RunLayer::discard(fd(dir.path())),
        Err(RunError::NoLayer)
    ));
}

#[test]
fn host_bits_and_shared_inodes_are_respected() {
    use std::os::unix::fs::PermissionsExt;
    let bed = Bed::new(&[("shared/a", "1\n"), ("linked", "1\n")]);
    fs::hard_link(bed.work.join("linked"), bed.dir.path().join("outside")).unwrap();
    fs::set_permissions(bed.work.join("shared"), fs::Permissions::from_mode(0o2775)).unwrap();
    bed.agent("shared/b", "b\n");
    fs::set_permissions(bed.upper.join("shared"), fs::Permissions::from_mode(0o750)).unwrap();
    bed.agent("linked", "agent\n");
    bed.open()
        .apply(&ApplyOptions {
            overwrite: true,
            ..all()
        })
        .unwrap();
    let mode = fs::metadata(bed.work.join("shared"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o2750, "the group bit that the host set stays");
    assert_eq!(bed.read("linked"), "agent\n");
    assert_eq!(
        fs::read_to_string(bed.dir.path().join("outside")).unwrap(),
        "1\n",
        "the other name is another file now"
    );
}
