//! A daemon that goes away.
use crate::daemon::{Daemon, serve, signal, wait};
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::time::Duration;

#[test]
fn a_daemon_that_goes_away_is_told_of_and_found_again() {
    let mut daemon = Daemon::start();
    let mut child = daemon
        .qila(&["run", "--", "sh", "-c", "echo up; exec sleep 60"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "up");
    daemon.child.kill().unwrap();
    daemon.child.wait().unwrap();
    assert_eq!(wait(&mut child, Duration::from_secs(20)), 125);
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(
        said.contains("the daemon went away") && said.contains("qila kill "),
        "{said}"
    );
    // The next daemon has what the run left, by the name that was told.
    let (next, address) = serve(&daemon.place, &daemon.address);
    daemon.child = next;
    assert_eq!(address, daemon.address);
    let id = said
        .split("qila kill ")
        .nth(1)
        .unwrap()
        .trim_end_matches(['`', '\n'])
        .to_owned();
    assert!(daemon.said(&["ps"]).contains(&id));
    daemon.said(&["kill", &id]);
    daemon.is_empty();
    // One that is told to end while a command runs.
    let mut child = daemon
        .qila(&["run", "--", "sh", "-c", "echo up; exec sleep 60"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "up");
    signal(&daemon.child, rustix::process::Signal::TERM);
    assert_eq!(wait(&mut child, Duration::from_secs(20)), 125);
}
