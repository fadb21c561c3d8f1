//! Attacks on the gateway, and how large it gets under them.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: a failure here is the test's"
)]
use crate::common::{Place, err, out};
use crate::frames::CLIENT;
use crate::outside::{POLICY, command};
use crate::upstream::Upstream;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bound on the gateway's own memory under any flood, in KiB: see the limits register.
pub const MOST: u64 = 64 * 1024;

/// Runs an attack and then an honest request. Answers what was printed, and the gateway's peak memory in KiB.
pub fn run(place: &Place, tier: &str, server: &Upstream, attack: &str) -> (String, u64) {
    under(place, tier, POLICY, server, attack)
}

/// The same under a policy of one's own.
pub fn under(place: &Place, tier: &str, policy: &str, server: &Upstream, attack: &str) -> (String, u64) {
    place.write("ws/client.py", CLIENT);
    place.write("ws/attack.py", &format!("from client import *\n{attack}"));
    let script = "python3 attack.py; curl -sS -m 20 -o /dev/null -w '%{http_code}\\n' https://api.test/v1/b";
    let mut command = command(place, tier, policy, server, script);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let launcher = child.id();
    let peak = AtomicU64::new(0);
    let done = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| child.wait_with_output().unwrap());
        while !waiting.is_finished() {
            for gateway in children(launcher) {
                peak.fetch_max(memory(gateway), Ordering::Relaxed);
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        waiting.join().unwrap()
    });
    let text = out(&done);
    assert!(text.ends_with("200\n"), "{text} {}", err(&done));
    (text, peak.into_inner())
}

fn children(of: u32) -> Vec<u32> {
    let list = std::fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
    list.split(' ').filter_map(|p| p.trim().parse().ok()).collect()
}

/// What of a process is in memory and shared with nobody's file, in KiB.
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("RssAnon:"));
    line.and_then(|l| l.split_ascii_whitespace().nth(1)?.parse().ok())
        .unwrap_or(0)
}
