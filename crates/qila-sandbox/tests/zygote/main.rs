//! Zygotes on this host, as root and as an unprivileged user. It has a `main` of its own: what forks sandboxes has one thread.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod attacks;
mod bench;
mod cases;
mod guest;
mod measure;

use bench::Bench;
use std::time::Instant;

type Case = fn(&mut Bench);

const CASES: &[(&str, Case)] = &[
    ("cells", cases::cells),
    ("arguments", cases::arguments),
    ("ends", cases::ends),
    ("refused", cases::refused),
    ("random", cases::random),
    ("forgets", cases::forgets),
    ("same_rights", attacks::same_rights),
    ("same_attempts", attacks::same_attempts),
    ("apart", attacks::apart),
    ("not_caged", attacks::not_caged),
    ("hostile", attacks::hostile),
    ("stops_all", guest::stops_all),
    ("floods", guest::floods),
    ("zygote_killed", attacks::zygote_killed),
    ("above_killed", attacks::above_killed),
];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|a| a == "--list") {
        return;
    }
    let filter: Vec<_> = words.iter().filter(|a| !a.starts_with('-')).collect();
    qila_sys::signal::ignore(17); // as a launcher does: nobody waits for what it forked
    let mut bench = Bench::new();
    if filter.iter().any(|f| *f == "measure") {
        return measure::all(&mut bench);
    }
    let who = rustix::process::geteuid().as_raw();
    let mut ran = 0;
    for (name, case) in CASES {
        if filter.is_empty() || filter.iter().any(|f| name.contains(f.as_str())) {
            let begun = Instant::now();
            case(&mut bench);
            println!("test {name} as {who} ... ok ({} ms)", begun.elapsed().as_millis());
            ran += 1;
        }
    }
    drop(bench);
    println!("\ntest result: ok. {ran} passed as user {who}");
    if who == 0 {
        again(&words);
    }
}

/// The same as a user without any right.
fn again(words: &[String]) {
    qila_sys::signal::reset_all().unwrap();
    let own = std::env::current_exe().unwrap();
    let mut command = std::process::Command::new("setpriv");
    command.args(["--reuid=65533", "--regid=65533", "--clear-groups"]);
    match command.arg(own).args(words).status() {
        Ok(status) => assert!(status.success(), "as user 65533: {status}"),
        Err(e) => println!("skipped: zygotes of an unprivileged user: setpriv: {e}"),
    }
}
