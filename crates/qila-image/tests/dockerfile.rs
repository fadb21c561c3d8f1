//! Images built from a Dockerfile.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests: a failure here is the test's"
)]
use qila_image::{Build, BuildError, Limits, Store, build};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const BUILDAH: &str = "/usr/bin/buildah";

fn of(at: &Path, dockerfile: &str) -> Build {
    let context = at.join("context");
    std::fs::create_dir_all(&context).unwrap();
    std::fs::write(context.join("Dockerfile"), dockerfile).unwrap();
    Build {
        dockerfile: context.join("Dockerfile"),
        context,
        buildah: BUILDAH.into(),
        work: at.join("work"),
        timeout: Duration::from_secs(60),
        lines: None,
    }
}

fn run(build_this: Build) -> Result<PathBuf, BuildError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(build(build_this))
}

/// Whether the simplest of images can be built here at all.
fn works() -> bool {
    let at = tempfile::tempdir().unwrap();
    match run(of(at.path(), "FROM scratch\nCOPY Dockerfile /d\n")) {
        Ok(_) => true,
        Err(e) => {
            println!("skipped: building images: {e}");
            false
        }
    }
}

#[test]
fn a_dockerfile_becomes_an_image() {
    if !works() {
        return;
    }
    let at = tempfile::tempdir().unwrap();
    let source = at.path().join("write.c");
    let text = "#include <stdio.h>\nint main(void) { FILE *f = fopen(\"/made\", \"w\"); fputs(\"inside\", f); puts(\"ran\"); return fclose(f); }\n";
    std::fs::write(&source, text).unwrap();
    let mut this = of(
        at.path(),
        "FROM scratch\nCOPY write /bin/write\nENV A=b\nWORKDIR /srv\nUSER 7\nCMD [\"/bin/write\"]\nUSER 0\nRUN [\"/bin/write\"]\n",
    );
    let built = Command::new("cc")
        .args(["-static", "-o"])
        .arg(this.context.join("write"))
        .arg(&source)
        .output()
        .unwrap();
    if !built.status.success() {
        println!("skipped: building images: cc cannot link statically");
        return;
    }
    let lines = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&lines);
    this.lines = Some(Arc::new(move |line| seen.lock().unwrap().push(line.to_owned())));
    let layout = match run(this) {
        Err(BuildError::Failed { last, .. })
            if last.contains("ermission denied") || last.contains("not permitted") =>
        {
            println!("skipped: building images: programs cannot be run in a build here: {last}");
            return;
        }
        other => other.unwrap(),
    };
    assert!(lines.lock().unwrap().iter().any(|l| l == "ran"), "{lines:?}");
    let left: Vec<_> = std::fs::read_dir(at.path().join("work"))
        .unwrap()
        .flatten()
        .map(|e| e.file_name())
        .collect();
    assert_eq!(left, ["layout"]);
    let image = Store::open(&at.path().join("store"), Limits::default())
        .unwrap()
        .layout(&layout, None)
        .unwrap();
    let found = image
        .lower
        .iter()
        .find_map(|l| std::fs::read_to_string(l.join("made")).ok());
    assert_eq!(found.as_deref(), Some("inside"));
    assert_eq!(image.config.cmd, ["/bin/write"]);
    assert_eq!(image.config.working_dir.as_deref(), Some("/srv"));
    assert!(image.config.env.contains(&"A=b".to_owned()));
}

#[test]
fn what_cannot_be_built_leaves_nothing() {
    let at = tempfile::tempdir().unwrap();
    let mut absent = of(at.path(), "FROM scratch\n");
    absent.buildah = at.path().join("none");
    let error = run(absent).unwrap_err().to_string();
    assert!(error.contains("install the package `buildah`"), "{error}");
    if !works() {
        return;
    }
    for bad in [
        "NONSENSE\n",
        "FROM scratch\nCOPY none /\n",
        "FROM scratch\nCOPY ../../etc/passwd /\n",
    ] {
        let error = run(of(at.path(), bad)).unwrap_err();
        assert!(
            matches!(&error, BuildError::Failed { last, .. } if !last.is_empty()),
            "{error}"
        );
        assert!(!at.path().join("work").exists(), "{bad}");
    }
    std::fs::create_dir(at.path().join("work")).unwrap();
    let there = run(of(at.path(), "FROM scratch\n")).unwrap_err();
    assert!(matches!(there, BuildError::System { .. }), "{there}");
    assert!(
        at.path().join("work").exists(),
        "what was there before is not taken away"
    );
}

#[test]
fn a_build_that_takes_too_long_or_is_dropped_is_ended_with_all_that_it_started() {
    let at = tempfile::tempdir().unwrap();
    let script = at.path().join("buildah");
    let pid = at.path().join("pid");
    // A program that starts another, which would outlive it.
    let text = format!("#!/bin/sh\nsleep 300 &\necho $! > '{}'\nwait\n", pid.display());
    std::fs::write(&script, text).unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let gone = || {
        let id: i32 = std::fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
        let until = Instant::now() + Duration::from_secs(5);
        // A process that ended and was not waited for is gone, too.
        let dead = || {
            let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ")
        };
        while !dead() {
            assert!(Instant::now() < until, "process {id} is left");
            std::thread::sleep(Duration::from_millis(20));
        }
        std::fs::remove_file(&pid).unwrap();
        !at.path().join("work").exists()
    };
    let mut slow = of(at.path(), "FROM scratch\n");
    (slow.buildah, slow.timeout) = (script.clone(), Duration::from_secs(3));
    let error = run(slow.clone()).unwrap_err();
    assert!(matches!(error, BuildError::TimedOut(_)), "{error}");
    assert!(gone());
    slow.timeout = Duration::from_secs(60);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let begun = async {
        // Its line is written after it is made.
        while !std::fs::read_to_string(&pid).is_ok_and(|id| id.ends_with('\n')) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    runtime.block_on(async {
        tokio::select! {
            done = build(slow) => panic!("it does not end by itself: {done:?}"),
            () = begun => {}
        }
    });
    drop(runtime); // waits for the thread
    assert!(gone());
}

#[test]
fn a_build_ends_whatever_holds_its_output() {
    use std::os::unix::fs::PermissionsExt;
    for left in ["sleep 300", "sh -c 'while :; do echo more; done'"] {
        let at = tempfile::tempdir().unwrap();
        let (script, pid) = (at.path().join("buildah"), at.path().join("pid"));
        // In a group of its own, where the end of the build does not reach it.
        let text = format!(
            "#!/bin/sh\nsetsid {left} &\necho $! > '{}'\nexit 3\n",
            pid.display()
        );
        std::fs::write(&script, text).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut this = of(at.path(), "FROM scratch\n");
        this.buildah = script;
        let begun = Instant::now();
        let error = run(this).unwrap_err();
        let id = std::fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
        let id = rustix::process::Pid::from_raw(id).unwrap();
        // Of the second its pipe is closed, which may have ended it.
        let _ = rustix::process::kill_process(id, rustix::process::Signal::KILL);
        assert!(matches!(error, BuildError::Failed { .. }), "{left}: {error}");
        assert!(begun.elapsed() < Duration::from_secs(40), "{left}");
    }
}
