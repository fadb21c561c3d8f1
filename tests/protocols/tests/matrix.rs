//! The whole matrix as one test. `QILA_PROTOCOLS` gives the command further arguments, such as `--only TEXT`.
use std::process::{Command, Stdio};

#[test]
fn what_is_allowed_works_and_what_is_denied_is_refused() {
    let more = std::env::var("QILA_PROTOCOLS").unwrap_or_default();
    let out = Command::new(env!("CARGO_BIN_EXE_qila-protocols"))
        .args(more.split_whitespace())
        .stderr(Stdio::inherit())
        .output()
        .expect("the command starts");
    println!("{}", String::from_utf8_lossy(&out.stdout));
    assert!(out.status.success(), "{}", out.status);
}
