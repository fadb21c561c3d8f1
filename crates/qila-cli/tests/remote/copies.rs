//! Copies, to and from a sandbox.
use crate::common::{err, out};
use crate::daemon::{Daemon, code};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

#[test]
fn files_go_both_ways_and_nowhere_else() {
    let daemon = Daemon::start();
    let id = daemon.create();
    let at = |path: &str| format!("{id}:{path}");
    let here = daemon.place.path("ws");
    std::fs::create_dir_all(here.join("src/deep/er")).unwrap();
    let big: Vec<u8> = (0..3_000_000u32).map(|n| (n * 7 % 253) as u8).collect();
    std::fs::write(here.join("src/big"), &big).unwrap();
    std::fs::write(here.join("src/deep/er/ü & %41?#"), "odd").unwrap();
    std::fs::write(here.join("src/run.sh"), "#!/bin/sh\necho ran\n").unwrap();
    std::fs::set_permissions(here.join("src/run.sh"), PermissionsExt::from_mode(0o750)).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", here.join("src/link")).unwrap();

    let done = daemon.done(&["sandbox", "cp", "--json", "src", &at("")]);
    assert_eq!(code(&done), 0, "{}", err(&done));
    assert!(err(&done).contains("left out: src/link"), "{}", err(&done));
    let copied: Value = serde_json::from_str(&out(&done)).unwrap();
    assert_eq!(copied["files"], 3, "{copied}");
    assert_eq!(daemon.said(&["sandbox", "exec", &id, "--", "src/run.sh"]), "ran");
    assert!(!daemon.said(&["sandbox", "ls", &at("src")]).contains("link"));
    // Into what is there; as what is not; only the content.
    daemon.said(&["sandbox", "cp", "src/run.sh", &at("src/deep")]);
    daemon.said(&["sandbox", "cp", "src/run.sh", &at("other")]);
    daemon.said(&["sandbox", "cp", "src/deep/.", &at("flat")]);
    daemon.said(&[
        "sandbox",
        "exec",
        &id,
        "--",
        "test",
        "-x",
        "src/deep/run.sh",
        "-a",
        "-x",
        "other",
        "-a",
        "-d",
        "flat/er",
    ]);

    daemon.said(&["sandbox", "cp", &at("src"), "back"]);
    assert!(std::fs::read(here.join("back/big")).unwrap() == big);
    assert_eq!(
        std::fs::read_to_string(here.join("back/deep/er/ü & %41?#")).unwrap(),
        "odd"
    );
    let mode = here.join("back/run.sh").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o750);
    daemon.said(&["sandbox", "cp", &at("src/big"), "one"]);
    assert!(std::fs::read(here.join("one")).unwrap() == big);

    // A link that lies here leads nobody out; one that lies there is left out.
    std::fs::create_dir_all(here.join("trap/back")).unwrap();
    std::fs::create_dir(here.join("outside")).unwrap();
    std::os::unix::fs::symlink(here.join("outside"), here.join("trap/back/deep")).unwrap();
    let script = "mkdir -p t/back/deep; echo bad > t/back/deep/bad; ln -s /etc/passwd t/back/pass";
    daemon.said(&["sandbox", "exec", &id, "--", "sh", "-c", script]);
    let done = daemon.done(&["sandbox", "cp", &at("t/back/."), "trap/back"]);
    assert_ne!(code(&done), 0);
    assert!(err(&done).contains("no directory"), "{}", err(&done));
    assert!(!here.join("outside/bad").exists());
    assert!(!here.join("trap/back/pass").exists());

    for (args, what) in [
        ([&at("none")[..], "x"], "none"),
        (["none", &at("x")], "none"),
        (["a", "b"], "ID:PATH"),
        (["src", "zzzz:x"], "no sandbox"),
    ] {
        let done = daemon.done(&["sandbox", "cp", args[0], args[1]]);
        assert!(
            code(&done) != 0 && err(&done).contains(what),
            "{args:?}: {}",
            err(&done)
        );
    }
    // Nothing half-made is left here.
    let odd = Command::new("find")
        .arg(&here)
        .args(["-name", ".*qila-*"])
        .output()
        .unwrap();
    assert_eq!(out(&odd), "");

    // A run with the files of a directory.
    let done = daemon.done(&["run", "-q", "--upload", "src", "--", "sh", "run.sh"]);
    assert_eq!(out(&done), "ran\n", "{}", err(&done));
    daemon.said(&["sandbox", "kill", &id]);
    daemon.is_empty();
}
