//! What runs leave in the evidence log, and ways to be in its way.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: a failure here is the test's"
)]
use crate::common::{Place, err, out};
use serde_json::Value;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What `qila log --json` has.
pub fn events(place: &Place, more: &[&str]) -> Vec<Value> {
    let output = place
        .qila(&[&["log", "--json"][..], more].concat())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", err(&output));
    let lines = out(&output);
    lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

/// The kinds of events, in order.
pub fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|e| e["event"].as_str().unwrap()).collect()
}

pub fn log_path(place: &Place) -> PathBuf {
    place.path("state/evidence/log")
}

pub fn length(place: &Place) -> u64 {
    log_path(place).metadata().unwrap().len()
}

pub fn intact(place: &Place) {
    let output = place.qila(&["audit", "verify"]).output().unwrap();
    assert!(output.status.success(), "{}{}", out(&output), err(&output));
}

/// The same command, started by another program.
pub fn under(wrapper: &[&str], command: &Command) -> Command {
    let mut all = Command::new(wrapper.first().unwrap());
    all.args(wrapper.iter().skip(1))
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(command.get_current_dir().unwrap())
        .env_clear()
        .envs(command.get_envs().filter_map(|(n, v)| Some((n, v?))))
        .stdin(Stdio::null());
    all
}

/// `qila run` whose first instruction leaves a file in the real workspace.
pub fn canary(place: &Place, tier: &str) -> Command {
    let args = [
        "run",
        "-q",
        "--policy",
        "offline",
        "--isolation",
        tier,
        "--direct",
        "--",
        "touch",
        "canary",
    ];
    place.qila(&args)
}

pub fn sang(place: &Place) -> bool {
    place.path("ws/canary").exists()
}

pub fn until(mut done: impl FnMut() -> bool) -> bool {
    (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        done()
    })
}

/// A run that has done something and waits for a line.
pub fn waiting(place: &Place, tier: &str, first: &str) -> Child {
    let script = format!("{first}; echo up; read x; exit 3");
    let mut child = place
        .run("offline", tier, &["sh", "-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut up = [0; 3];
    child.stdout.as_mut().unwrap().read_exact(&mut up).unwrap();
    child
}
