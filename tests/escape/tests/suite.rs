//! The whole matrix as one test. `QILA_ESCAPE` gives the harness further arguments, such as `--only NAME`.
use std::process::Command;

#[test]
fn every_attack_fails_and_every_twin_succeeds() {
    let more = std::env::var("QILA_ESCAPE").unwrap_or_default();
    let status = Command::new(env!("CARGO_BIN_EXE_qila-escape"))
        .args(more.split_whitespace())
        .status()
        .expect("the harness starts");
    assert!(status.success(), "{status}");
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
