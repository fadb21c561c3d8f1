//! Layers made by the kernel's own overlayfs, and a disk that is really full, in namespaces of an ordinary user.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test program: a panic is its verdict"
)]
mod common;
use common::Bed;
use qila_workspace::{ApplyError, ApplyOptions, ChangeKind};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// Runs a shell script in a new user and mount namespace, with the given positions as `$1`, `$2`, …
fn in_namespace(script: &str, args: &[&Path]) -> Output {
    let script = format!("set -e\n{script}");
    Command::new("unshare")
        .args(["-Urm", "sh", "-c", &script, "sh"])
        .args(args)
        .output()
        .unwrap()
}

fn namespaces_work(test: &str) -> bool {
    let works = Command::new("unshare")
        .args(["-Urm", "true"])
        .output()
        .is_ok_and(|o| o.status.success());
    if !works {
        eprintln!("skipped: {test}: no user namespaces for this user, or no `unshare`");
    }
    works
}

/// The agent's commands, run in the workspace as its sandbox would show it. None if this kernel or file system has no
/// overlay for ordinary users.
fn agent(bed: &Bed, test: &str, commands: &str) -> Option<()> {
    if !namespaces_work(test) {
        return None;
    }
    let mount = "mount -t overlay overlay -o \"lowerdir=$1,upperdir=$2,workdir=$3,userxattr,index=off,xino=off\" \"$1\"";
    let work = bed.run.join("layer/work");
    let paths = [bed.work.as_path(), &bed.upper, &work];
    if !in_namespace(mount, &paths).status.success() {
        eprintln!("skipped: {test}: this kernel mounts no overlay for ordinary users here");
        return None;
    }
    let out = in_namespace(&format!("{mount}\ncd \"$1\"\n{commands}"), &paths);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    Some(())
}

#[test]
fn what_an_agent_does_in_an_overlay_arrives_exactly() {
    let bed = Bed::new(&[
        ("edit", "1\n"),
        ("rm", "1\n"),
        ("mv", "1\n"),
        ("touch", "1\n"),
        ("chmod", "1\n"),
        ("dir/a", "1\n"),
        ("dir/sub/b", "1\n"),
        ("remade/old", "1\n"),
        ("moved/x", "1\n"),
        ("f2d", "1\n"),
        ("d2f/x", "1\n"),
        ("ro/x", "1\n"),
    ]);
    let script = "
        echo 2 > edit; rm rm; mv mv moved-to; touch touch; chmod 700 chmod; rm -r dir
        rm -r remade; mkdir remade; echo n > remade/new; mv moved moved2; rm f2d; mkdir f2d; echo i > f2d/i
        rm -r d2f; echo f > d2f; ln -s edit sl; ln edit hl; mkfifo pipe; mkdir -p new/deep; echo x > new/deep/f
        echo tmp > tmp; rm tmp; chmod 500 ro; mkdir emptied; rmdir emptied";
    let Some(()) = agent(&bed, "overlay", script) else {
        return;
    };
    use ChangeKind::{Added, Deleted, ModeChanged, Modified, TypeChanged};
    let expected = [
        ("chmod", ModeChanged),
        ("d2f", TypeChanged),
        ("d2f/x", Deleted),
        ("dir", Deleted),
        ("dir/a", Deleted),
        ("dir/sub", Deleted),
        ("dir/sub/b", Deleted),
        ("edit", Modified),
        ("f2d", TypeChanged),
        ("f2d/i", Added),
        ("hl", Added),
        ("moved", Deleted),
        ("moved/x", Deleted),
        ("moved-to", Added),
        ("moved2", Added),
        ("moved2/x", Added),
        ("mv", Deleted),
        ("new", Added),
        ("new/deep", Added),
        ("new/deep/f", Added),
        ("remade/new", Added),
        ("remade/old", Deleted),
        ("rm", Deleted),
        ("ro", ModeChanged),
        ("sl", Added),
    ];
    let changes = bed.changes();
    let found: Vec<_> = changes
        .entries
        .iter()
        .map(|c| (c.path.to_str().unwrap(), c.kind))
        .collect();
    assert_eq!(found, expected);
    assert_eq!(changes.skipped.len(), 1, "the pipe");
    // The truth: what the merged view shows, against the workspace after the apply.
    let merged = bed.dir.path().join("merged");
    fs::create_dir(&merged).unwrap();
    let copy = "mount -t overlay overlay -o \"lowerdir=$1,upperdir=$2,workdir=$3,userxattr,index=off,xino=off\" \"$1\"
        rm -f \"$1/pipe\"; cp -a \"$1/.\" \"$4\"";
    let work = bed.run.join("layer/work");
    assert!(
        in_namespace(copy, &[&bed.work, &bed.upper, &work, &merged])
            .status
            .success()
    );
    let applied = bed.open().apply(&ApplyOptions::default()).unwrap();
    assert_eq!(applied.changes.len(), expected.len());
    let list = |dir: &Path| {
        let find = "cd \"$1\" && find . -printf '%P %y %m %l\\n' | sort && find . -type f -print0 | sort -z | xargs -0 cat";
        let out = Command::new("sh")
            .args(["-c", find, "sh"])
            .arg(dir)
            .output()
            .unwrap();
        String::from_utf8(out.stdout).unwrap()
    };
    assert_eq!(list(&bed.work), list(&merged));
}

#[test]
fn an_agent_cannot_forge_overlay_attributes() {
    if Command::new("setfattr").arg("--version").output().is_err() {
        eprintln!("skipped: forged attributes: there is no `setfattr`");
        return;
    }
    let bed = Bed::new(&[("d/f", "1\n")]);
    let script = "
        for name in opaque redirect metacopy whiteout origin; do
            mkdir $name; setfattr -n user.overlay.$name -v y $name || true
            echo > f-$name; setfattr -n user.overlay.$name -v y f-$name || true
            setfattr -n user.overlay.$name -v y d || true
        done";
    if agent(&bed, "forged attributes", script).is_some() {
        let changes = bed.changes();
        assert_eq!(changes.entries.len(), 10, "{changes:?}");
        assert!(changes.entries.iter().all(|c| c.kind == ChangeKind::Added));
    }
}

const INNER: &str = "QILA_TEST_FULL_DISK";

/// Runs itself again where the workspace lies on a file system of 512 KiB.
#[test]
fn a_full_disk_changes_nothing() {
    if let Some(dir) = std::env::var_os(INNER) {
        return full_disk(Path::new(&dir));
    }
    if !namespaces_work("full disk") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let me = std::env::current_exe().unwrap();
    let script = format!(
        "mount -t tmpfs -o size=512k tmpfs \"$1\"; {INNER}=\"$1\" exec \"$2\" --exact a_full_disk_changes_nothing --nocapture"
    );
    let out = in_namespace(&script, &[dir.path(), &me]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
    assert!(String::from_utf8_lossy(&out.stdout).contains("1 passed"));
}

fn full_disk(work: &Path) {
    let mut bed = Bed::new(&[]);
    bed.work = work.to_owned();
    fs::write(work.join("a"), "old\n").unwrap();
    qila_workspace::RunLayer::prepare(common::fd(&bed.run), common::fd(work)).unwrap();
    common::tick();
    bed.agent("a", "new\n");
    bed.agent("large", vec![1; 1 << 20]);
    let error = bed.open().apply(&ApplyOptions::default()).unwrap_err();
    assert!(matches!(error, ApplyError::NoSpace(_)), "{error}");
    assert_eq!(bed.read("a"), "old\n");
    assert_eq!(fs::read_dir(work).unwrap().count(), 1, "nothing is left behind");
    let small = ApplyOptions {
        paths: Some(vec!["a".into()]),
        ..ApplyOptions::default()
    };
    bed.open().apply(&small).unwrap();
    assert_eq!(bed.read("a"), "new\n");
}
