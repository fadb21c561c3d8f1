//! A real node on this host, asked directly. It has a `main` of its own: a launcher is forked while there is one thread.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod cases;
mod crash;
mod fair;
mod files;
mod kept;
mod lives;
mod pools;
mod warm;

use cases::Bench;
use std::time::Instant;

/// Longest time of one case.
const TIME: std::time::Duration = std::time::Duration::from_secs(60);
/// Whom the cases run as a second time.
const NOBODY: &str = "65533";

/// Everything again as an ordinary user, if this is root.
fn unprivileged() {
    use std::os::unix::fs::PermissionsExt;
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let program = dir.path().join("machine");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let user = ["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"];
    let mut again = std::process::Command::new("setpriv");
    again
        .args(user)
        .arg(&program)
        .args(std::env::args().skip(1))
        .env("HOME", "/tmp")
        .current_dir("/tmp");
    println!("again, as user {NOBODY}");
    match again.status() {
        Ok(status) => assert!(status.success(), "as user {NOBODY}: {status}"),
        Err(e) => println!("skipped: as an ordinary user: setpriv: {e}"),
    }
}

fn main() {
    let filter: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    if std::env::args().any(|a| a == "--list") {
        return;
    }
    let runtime = || {
        let mut of = tokio::runtime::Builder::new_multi_thread();
        of.worker_threads(2).enable_all().build().unwrap()
    };
    if let Some(dir) = std::env::var_os(crash::DIR) {
        let bench = Bench::at(dir.as_ref(), 1);
        return runtime().block_on(crash::to_be_killed(&bench));
    }
    let bench = Bench::new();
    let runtime = runtime();
    let mut ran = 0;
    for (name, case) in cases::all() {
        if !filter.is_empty() && !filter.iter().any(|f| name.contains(f.as_str())) {
            continue;
        }
        let begun = Instant::now();
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let limited = async { tokio::time::timeout(TIME, case(&bench)).await.expect(name) };
            runtime.block_on(limited);
        }));
        if done.is_err() {
            // Sandboxes outlive who made them: not this test.
            runtime.block_on(bench.end());
            println!("test {name} ... FAILED");
            std::process::exit(101);
        }
        println!("test {name} ... ok ({} ms)", begun.elapsed().as_millis());
        ran += 1;
    }
    runtime.block_on(bench.done());
    drop(bench);
    unprivileged();
    println!("\ntest result: ok. {ran} passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
}
