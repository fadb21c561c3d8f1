//! The whole matrix as one test. `QILA_ESCAPE` gives the harness further arguments, such as `--only NAME`.
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

/// The newest change of a source below a directory.
fn newest(dir: &Path) -> SystemTime {
    let mut last = SystemTime::UNIX_EPOCH;
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let time = match path.is_dir() {
            true => newest(&path),
            false => entry.metadata().and_then(|m| m.modified()).unwrap_or(last),
        };
        last = last.max(time);
    }
    last
}

/// A command that is older than its sources would be judged in their place: it is built anew.
fn build() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let sources = ["crates", "backends"].map(|d| root.join(d));
    let changed = sources.iter().map(|d| newest(d)).max();
    let built = qila_escape::target::find_qila().and_then(|bin| bin.metadata().ok()?.modified().ok());
    if std::env::var_os("QILA_BIN").is_some() || built > changed {
        return;
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--package", "qila-cli"])
        .current_dir(root)
        .status()
        .is_ok_and(|status| status.success());
    assert!(built, "qila could not be built");
}

#[test]
fn every_attack_fails_and_every_twin_succeeds() {
    build();
    let more = std::env::var("QILA_ESCAPE").unwrap_or_default();
    let out = Command::new(env!("CARGO_BIN_EXE_qila-escape"))
        .args(more.split_whitespace())
        .stderr(std::process::Stdio::inherit())
        .output()
        .expect("the harness starts");
    println!("{}", String::from_utf8_lossy(&out.stdout));
    assert!(out.status.success(), "{}", out.status);
}

/// The suite finds something where there is something to find: a sandbox without a policy shows a hidden file.
#[test]
fn a_peer_without_a_policy_is_found_out() {
    if !std::path::Path::new("/usr/bin/bwrap").exists() {
        println!("skipped: /usr/bin/bwrap is not installed");
        return;
    }
    let out = Command::new(env!("CARGO_BIN_EXE_qila-escape"))
        .args([
            "--target",
            "bwrap",
            "--only",
            "hidden-direct",
            "--only",
            "nested-user-namespace",
        ])
        .output()
        .expect("the harness starts");
    let text = String::from_utf8_lossy(&out.stdout);
    assert_eq!(out.status.code(), Some(1), "{text}");
    assert!(text.contains("2 broken"), "{text}");
}
