//! Interrupting what an interpreter runs, again and again, until it ends or has had its time.
use crate::driver::Kind;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::time::Duration;
use tokio::process::Child;
use tokio::time::Instant;

/// How long an interrupted cell may take to end: on a busy machine, and without losing what cells before it have left.
const ENDING: Duration = Duration::from_secs(10);
/// Time between two interruptions of a cell that goes on.
const AGAIN: Duration = Duration::from_millis(100);
/// From this one on, an interruption reaches the shell too, whatever it runs.
const ALL: u32 = 10;

/// A cell that is being interrupted.
pub(crate) struct Interrupted {
    end: Instant,
    next: Instant,
    count: u32,
    /// The shell ran nothing when it was last looked at.
    alone: bool,
}

impl Interrupted {
    /// Interrupts it for the first time.
    pub(crate) fn begin(kind: Kind, child: &Child) -> Interrupted {
        let now = Instant::now();
        let mut one = Interrupted {
            end: now + ENDING,
            next: now + AGAIN,
            count: 0,
            alone: false,
        };
        one.interrupt(kind, child);
        one
    }

    /// Interrupts it once more if it is time to: a shell goes on with its next command. False: it has had its time.
    pub(crate) fn go_on(&mut self, kind: Kind, child: &Child) -> bool {
        let now = Instant::now();
        if now >= self.end {
            return false;
        }
        if now >= self.next {
            self.next = now + AGAIN;
            self.interrupt(kind, child);
        }
        true
    }

    /// Sends INT: to what a shell runs, and to the shell itself only where it runs nothing for a while or where that has not
    /// helped. bash before 5.3 spins for ever in its own handler if an INT comes when it has just forked, between its `sigaction`
    /// and the store of `old_sigint_handler`.
    fn interrupt(&mut self, kind: Kind, child: &Child) {
        let id = child.id().and_then(|p| i32::try_from(p).ok());
        let Some(leader) = id.and_then(Pid::from_raw) else {
            return;
        };
        self.count += 1;
        let others = match kind {
            Kind::Bash if self.count < ALL => others(leader),
            Kind::Bash | Kind::JavaScript => None,
        };
        let before = std::mem::replace(&mut self.alone, others.as_ref().is_some_and(Vec::is_empty));
        // Those that are gone are seen to be.
        match others {
            Some(others) if !others.is_empty() => {
                for other in others {
                    let _ = kill_process(other, Signal::INT);
                }
            }
            Some(_) if !before => {} // it may be about to run something
            _ => drop(kill_process_group(leader, Signal::INT)),
        }
    }
}

/// Until something is to be done about one that is interrupted.
pub(crate) async fn due(interrupted: Option<&Interrupted>) {
    match interrupted {
        Some(one) => tokio::time::sleep_until(one.next.min(one.end)).await,
        None => std::future::pending().await,
    }
}

/// The members of a process group but its leader. None: they cannot be known.
fn others(leader: Pid) -> Option<Vec<Pid>> {
    let (mut found, mut itself) = (Vec::new(), false);
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|n| n.parse().ok());
        let Some(pid) = number.and_then(Pid::from_raw) else {
            continue;
        };
        let stat = std::fs::read(entry.path().join("stat")).unwrap_or_default(); // it has ended
        if group(&stat) == Some(leader.as_raw_nonzero().get()) {
            if pid == leader {
                itself = true;
            } else {
                found.push(pid);
            }
        }
    }
    itself.then_some(found) // else this is not the `/proc` of these processes
}

/// The process group in a `stat`: the third field after the name, in which anything may stand.
fn group(stat: &[u8]) -> Option<i32> {
    let name = stat.iter().rposition(|b| *b == b')')?;
    let rest = std::str::from_utf8(stat.get(name + 1..)?).ok()?;
    rest.split_ascii_whitespace().nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_claim_a_group() {
        let found = [
            &b"7 (a) S 1 5) S 3 9 9 0"[..],
            b"7 (\xff) R 3 9 9 0",
            b"7 (a",
            b"",
        ]
        .map(group);
        assert_eq!(found, [Some(9), Some(9), None, None]);
    }
}
