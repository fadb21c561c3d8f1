//! The command: runs the matrix, prints what is not as it should be, and fails if anything is not.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that meets something unexpected has failed"
)]
use qila_agents::host::Mode;
use qila_protocols::session::{Session, Wanted};
use qila_protocols::{row, table};
use std::process::ExitCode;

/// Exchanges of a hunt where `QILA_HUNT` does not say otherwise.
const HUNT: usize = 250;

fn main() -> ExitCode {
    let mut tiers = vec!["process", "container"];
    let mut modes = vec![Mode::Root, Mode::Unprivileged];
    let (mut only, mut markdown) = ("*".to_owned(), None);
    let mut hunt = std::env::var("QILA_HUNT").map_or(HUNT, |n| n.parse().expect("QILA_HUNT is a number"));
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().expect("this option has a value");
        match argument.as_str() {
            "--tier" => {
                let name = value();
                tiers.retain(|t| *t == name);
            }
            "--user" => {
                let name = value();
                modes.retain(|m| (*m == Mode::Root) == (name == "root"));
            }
            "--only" => only = format!("*{}*", value()),
            "--markdown" => markdown = Some(value()),
            "--no-hunt" => hunt = 0,
            "--list" => {
                row::all().iter().for_each(|r| println!("{}", r.id()));
                return ExitCode::SUCCESS;
            }
            other => {
                eprintln!(
                    "unknown argument {other}: --tier T --user root|user --only TEXT --markdown FILE --no-hunt --list"
                );
                return ExitCode::from(2);
            }
        }
    }
    let mut lines = Vec::new();
    for tier in &tiers {
        let one = |mode: Mode| {
            let wanted = Wanted {
                tier: (*tier).to_owned(),
                mode,
                only: only.clone(),
                hunt,
            };
            let started = std::time::Instant::now();
            let found = Session::begin(wanted).map(|session| session.all());
            eprintln!("{tier}, {mode:?}: {} s", started.elapsed().as_secs());
            found.unwrap_or_else(|skip| {
                println!("skipped: protocols, {tier}, {mode:?}: {}", skip.0);
                Vec::new()
            })
        };
        // Both users side by side: much of it is waiting.
        std::thread::scope(|scope| {
            let started: Vec<_> = modes.iter().map(|mode| scope.spawn(|| one(*mode))).collect();
            started
                .into_iter()
                .for_each(|s| lines.extend(s.join().expect("a session does not panic")));
        });
    }
    table::print(&lines);
    if let Some(path) = markdown {
        std::fs::write(path, table::markdown(&lines)).expect("the table can be written");
    }
    match lines.iter().any(|l| l.outcome.fails()) {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}
