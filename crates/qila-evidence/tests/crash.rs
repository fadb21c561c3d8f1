//! Nothing acknowledged is lost: torn tails, killed writers, a full disk.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]
mod common;
use common::*;
use qila_evidence::{Log, LogError, Writer, verify};
use qila_types::EventKind;
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn a_tail_torn_at_every_byte_is_cut_and_recorded() {
    let place = Place::new();
    place.open().append(&[event(0), event(1)]).unwrap();
    let (durable, head) = (place.bytes(), std::fs::read(place.file("head")).unwrap());
    place.open().append(&[event(2), event(3), event(4)]).unwrap();
    let whole = place.bytes();
    for cut in durable.len()..whole.len() {
        for hint in [true, false] {
            let copy = place.copy();
            std::fs::write(copy.file("log"), &whole[..cut]).unwrap();
            match hint {
                true => std::fs::write(copy.file("head"), &head).unwrap(),
                false => std::fs::remove_file(copy.file("head")).unwrap(),
            }
            let torn = (cut - durable.len()) as u64;
            let report = copy.verify();
            assert!(report.intact() && report.torn_tail == torn, "{cut}: {report:?}");
            assert_eq!(numbers(&copy), [0, 1], "nothing unfinished is shown");
            copy.open().append(&[event(9)]).unwrap();
            assert_eq!(numbers(&copy), [0, 1, 9]);
            let recovered = copy
                .kinds()
                .contains(&EventKind::LogRecovered { dropped_bytes: torn });
            assert_eq!(recovered, torn > 0, "{cut}");
            let report = copy.verify();
            assert!(report.intact() && report.torn_tail == 0, "{cut}: {report:?}");
        }
    }
}

/// After a power cut pages of one write may be missing although later ones are there.
#[test]
fn a_tail_with_a_hole_is_cut_and_recorded() {
    let place = Place::new();
    place.open().append(&[event(0)]).unwrap();
    let (durable, head) = (place.bytes(), std::fs::read(place.file("head")).unwrap());
    place.open().append(&[event(2), event(3), event(4)]).unwrap();
    let whole = place.bytes();
    for hole in (durable.len()..whole.len() - 100).step_by(37) {
        let copy = place.copy();
        let mut bytes = whole.clone();
        bytes[hole..hole + 64].fill(0);
        std::fs::write(copy.file("log"), &bytes).unwrap();
        std::fs::write(copy.file("head"), &head).unwrap();
        copy.open().append(&[event(9)]).unwrap();
        assert_eq!(numbers(&copy), [0, 9]);
        let report = copy.verify();
        assert!(report.intact(), "{report:?}");
        assert!(!report.noted.is_empty());
    }
}

/// Runs this test file again as the child of another test, under a shell that may set limits first.
fn child(test: &str, before: &str, place: &Path) -> Command {
    let exe = std::env::current_exe().unwrap();
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(format!("{before} exec \"$0\" --exact --nocapture {test}"))
        .arg(exe);
    command
        .env("QILA_TEST_LOG", place)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .stdin(Stdio::null());
    command
}

fn place_of_child() -> Option<std::path::PathBuf> {
    std::env::var_os("QILA_TEST_LOG").map(Into::into)
}

/// Does nothing but as the child of another test.
#[test]
fn child_appends_for_ever() {
    let Some(path) = place_of_child() else { return };
    let writer = Writer::start(Log::open(fd(&path).as_fd()).unwrap()).unwrap();
    let first = u64::from(std::process::id()) * 1_000_000;
    for n in (first..).step_by(4) {
        let tickets: Vec<_> = (n..n + 4).map(|n| writer.durable(&event(n)).unwrap()).collect();
        for (n, ticket) in (n..).zip(tickets) {
            let index = ticket.wait().unwrap();
            println!("durable {index} {n}");
        }
    }
}

#[test]
fn a_killed_writer_loses_nothing_that_it_acknowledged() {
    let place = Place::new();
    let begun = Instant::now();
    let mut acknowledged = Vec::new();
    let mut rounds = 0;
    while rounds < 25 && begun.elapsed() < Duration::from_secs(8) {
        let mut pair: Vec<_> = (0..2)
            .map(|_| child("child_appends_for_ever", "", place.path()).spawn().unwrap())
            .collect();
        std::thread::sleep(Duration::from_millis(60 + rounds * 7));
        for child in &mut pair {
            child.kill().unwrap();
        }
        for mut child in pair {
            let out = BufReader::new(child.stdout.take().unwrap());
            for line in out.lines().map_while(Result::ok) {
                let words: Vec<_> = line.split(' ').collect();
                if let ["durable", index, n] = words[..]
                    && let (Ok(index), Ok(n)) = (index.parse::<usize>(), n.parse::<u64>())
                {
                    acknowledged.push((index, n));
                }
            }
            child.wait().unwrap();
        }
        rounds += 1;
    }
    assert!(
        rounds > 3 && acknowledged.len() > 20,
        "{rounds} rounds, {} events",
        acknowledged.len()
    );
    drop(place.open());
    let entries = place.entries();
    for (index, n) in &acknowledged {
        assert_eq!(entries[*index].event(), Some(event(*n)), "record {index}");
    }
    let report = place.verify();
    assert!(report.intact() && report.torn_tail == 0, "{report:?}");
}

/// Appends until it fails; says how many were acknowledged, and whether the log works once there is room.
/// Does nothing but as the child of another test.
#[test]
fn child_fills_the_disk() {
    let Some(path) = place_of_child() else { return };
    let mut log = Log::open(fd(&path).as_fd()).unwrap();
    let ballast = path.join("ballast");
    std::fs::write(&ballast, vec![1; 100_000]).unwrap();
    let mut count = 0;
    let error = loop {
        match log.append(&[event(count), event(count + 1)]) {
            Ok(_) => count += 2,
            Err(e) => break e,
        }
    };
    println!("\nfull {count} {}", matches!(error, LogError::NoSpace { .. }));
    assert!(log.append(&[event(999)]).is_err());
    std::fs::remove_file(ballast).unwrap();
    println!("\nagain {}", log.append(&[event(count)]).is_ok());
    println!(
        "\nintact {}",
        verify(fd(&path).as_fd(), None, None).unwrap().intact()
    );
    println!("\nnumbers {:?}", numbers_at(&path).iter().copied().eq(0..=count));
}

fn numbers_at(path: &Path) -> Vec<u64> {
    let reader = qila_evidence::Reader::open(fd(path).as_fd()).unwrap();
    let number = |kind| match kind {
        EventKind::Decision(d) => d.reason.strip_prefix("event ").and_then(|n| n.parse().ok()),
        _ => None,
    };
    reader
        .filter_map(|e| number(e.unwrap().event().unwrap().kind))
        .collect()
}

fn answer<'a>(out: &'a str, word: &str) -> Option<&'a str> {
    out.lines()
        .find_map(|line| line.strip_prefix(word))
        .map(str::trim)
}

#[test]
fn a_full_disk_acknowledges_nothing_and_the_log_goes_on_when_there_is_room() {
    let place = Place::new();
    let mount = "mount -t tmpfs -o size=400k,mode=0700 tmpfs \"$QILA_TEST_LOG\" &&";
    let mut command = child("child_fills_the_disk", mount, place.path());
    let inner: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    command = {
        let mut outer = Command::new("unshare");
        let rights = if rustix::process::geteuid().is_root() {
            "-m"
        } else {
            "-rm"
        };
        outer
            .args([rights, "sh"])
            .args(inner)
            .env("QILA_TEST_LOG", place.path());
        outer
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .stdin(Stdio::null());
        outer
    };
    let out = command
        .output()
        .map(|o| String::from_utf8_lossy(&o.stdout).into_owned())
        .unwrap_or_default();
    let Some(full) = answer(&out, "full ") else {
        println!("skipped: no tmpfs can be mounted in a mount namespace here");
        return;
    };
    let (count, right) = full.split_once(' ').unwrap();
    assert!(count.parse::<u64>().unwrap() > 100 && right == "true", "{out}");
    for word in ["again ", "intact ", "numbers "] {
        assert_eq!(answer(&out, word), Some("true"), "{word}{out}");
    }
}

/// Does nothing but as the child of another test.
#[test]
fn child_reaches_the_file_size_limit() {
    let Some(path) = place_of_child() else { return };
    let mut log = Log::open(fd(&path).as_fd()).unwrap();
    let mut count = 0;
    while log.append(&[event(count)]).is_ok() {
        count += 1;
    }
    println!("\nacknowledged {count}");
}

#[test]
fn the_largest_file_size_acknowledges_nothing() {
    let place = Place::new();
    // The signal is ignored, as a program does that wants the error.
    let limit = "trap '' XFSZ; ulimit -f 100 || exit 1;";
    let out = child("child_reaches_the_file_size_limit", limit, place.path())
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&out.stdout);
    let Some(count) = answer(&out, "acknowledged ").and_then(|n| n.parse::<u64>().ok()) else {
        println!("skipped: the file size cannot be limited here");
        return;
    };
    assert!(count > 10);
    assert_eq!(numbers(&place), (0..count).collect::<Vec<_>>());
    let report = place.verify();
    assert!(
        report.intact() && report.torn_tail == 0,
        "the partial commit was taken away: {report:?}"
    );
    place.open().append(&[event(count)]).unwrap();
    assert!(place.verify().intact());
}
