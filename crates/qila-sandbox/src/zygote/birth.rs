//! The first process of a sandbox beneath another one.
use crate::Stdio;
use crate::child;
use crate::error::{LaunchError, step};
use crate::launch::{Born, at_birth, speaks};
use qila_plan::Walls;
use qila_sys::fork::{Fork, Namespaces, exit_now, fork, fork_sibling};
use qila_sys::{caps, pass};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};
use std::time::{Duration, Instant};

/// How long the helpers may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What came about, said by a helper to the launcher with a descriptor of it.
const HELPER: u8 = b'h';
const BORN: u8 = b'b';
/// What failed: an error number of four bytes follows, then the step.
const FAILED: u8 = b'f';

/// As [`crate::bear`], in the user and process namespaces of another sandbox, whose first process is `above`.
///
/// When that process ends, the kernel ends what was born here with it. The caller has one thread.
pub fn bear_beneath(
    walls: &Walls,
    guest: BorrowedFd<'_>,
    stdio: &Stdio,
    birthplace: Option<BorrowedFd<'_>>,
    above: BorrowedFd<'_>,
) -> Result<Born, LaunchError> {
    let (control, theirs) = step("making the control socket", pass::pair())?;
    let (told, teller) = step("making a socket", pass::pair())?;
    // Whoever enters a user namespace never comes back out: a helper does. Whoever enters a process namespace is not in it
    // himself, only his children are; and only one that is in it can make one beneath: a second helper does. Both make
    // siblings, so that the first process has the launcher for its parent, with which it dies until it serves.
    match step("forking a helper", fork(Namespaces::NONE))? {
        Fork::Child => {
            drop((control, told));
            let enter = || -> Result<(), Failed> {
                caps::die_with_parent().map_err(at("tying life to the launcher"))?;
                let both = ThreadNameSpaceType::USER | ThreadNameSpaceType::PROCESS_ID;
                move_into_thread_name_spaces(above, both).map_err(at("entering the zygote's namespaces"))?;
                match fork_sibling(Namespaces::NONE, None).map_err(at("forking a helper"))? {
                    Fork::Parent { pidfd, .. } => say(&teller, HELPER, &pidfd),
                    Fork::Child => bear_here(walls, guest, stdio, birthplace, theirs, &teller),
                }
            };
            if let Err((what, errno)) = enter() {
                let packet = [
                    &[FAILED][..],
                    &errno.raw_os_error().to_le_bytes(),
                    what.as_bytes(),
                ]
                .concat();
                let _ = pass::send(&teller, &packet, &[]);
            }
            exit_now(0)
        }
        Fork::Parent { pidfd: first, .. } => {
            drop((theirs, teller));
            let mut made = Made::default();
            let heard = hear(&told, &mut made, PATIENCE);
            // Whatever they had to do is done, or too late: programs that own the namespace which they are in may make them stand
            // still, and cannot keep them from this.
            kill(first.as_fd());
            if let Some(second) = &made.helper {
                kill(second.as_fd());
            }
            if let Err(e) = heard {
                if let Some(born) = &made.born {
                    kill(born.as_fd());
                }
                return Err(e);
            }
            let pidfd = made
                .born
                .ok_or(LaunchError::Vanished("its helper said nothing"))?;
            let pid = step("finding its number", number(pidfd.as_fd()))?;
            Ok(Born { control, pid, pidfd })
        }
    }
}

type Failed = (&'static str, Errno);

fn at(what: &'static str) -> impl Fn(Errno) -> Failed {
    move |errno| (what, errno)
}

fn say(teller: &OwnedFd, what: u8, pidfd: &OwnedFd) -> Result<(), Failed> {
    pass::send(teller, &[what], &[pidfd.as_fd()]).map_err(at("telling the launcher"))
}

/// The second helper: in the process namespace above.
fn bear_here(
    walls: &Walls,
    guest: BorrowedFd<'_>,
    stdio: &Stdio,
    birthplace: Option<BorrowedFd<'_>>,
    control: OwnedFd,
    teller: &OwnedFd,
) -> Result<(), Failed> {
    caps::die_with_parent().map_err(at("tying life to the launcher"))?;
    match fork_sibling(at_birth(walls), birthplace).map_err(at("making namespaces"))? {
        Fork::Parent { pidfd, .. } => say(teller, BORN, &pidfd),
        Fork::Child => {
            child::become_guest(walls, control, guest, stdio);
            exit_now(70)
        }
    }
}

/// What the helpers have made: the second one, and the first process.
#[derive(Debug, Default)]
struct Made {
    helper: Option<OwnedFd>,
    born: Option<OwnedFd>,
}

/// Hears what the helpers made, in whichever order they say it, until neither is there any more.
fn hear(told: &OwnedFd, made: &mut Made, patience: Duration) -> Result<(), LaunchError> {
    let begun = Instant::now();
    let mut buffer = [0u8; 256];
    while made.helper.is_none() || made.born.is_none() {
        let left = patience.saturating_sub(begun.elapsed());
        if !step("listening to a helper", speaks(told, left))? {
            return Err(LaunchError::Vanished("its helper said nothing in time"));
        }
        let (n, mut fds) = step("listening to a helper", pass::receive(told, &mut buffer))?;
        match buffer.get(..n).and_then(<[u8]>::split_first) {
            Some((&HELPER, _)) => made.helper = fds.pop(),
            Some((&BORN, _)) => made.born = fds.pop(),
            Some((&FAILED, rest)) => {
                let (errno, what) = rest.split_first_chunk::<4>().unwrap_or((&[0; 4], &[]));
                return Err(LaunchError::Step {
                    step: String::from_utf8_lossy(what).into_owned(),
                    errno: Errno::from_raw_os_error(i32::from_le_bytes(*errno)),
                });
            }
            _ => break,
        }
    }
    Ok(())
}

/// A launcher that ignores its children's ends has nothing left to wait for.
fn kill(pidfd: BorrowedFd<'_>) {
    let _ = pidfd_send_signal(pidfd, Signal::KILL); // one that is gone need not be told
    let _ = waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED);
}

/// The number of a process, as the caller's `/proc` counts.
fn number(pidfd: BorrowedFd<'_>) -> Result<Pid, Errno> {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let text = std::fs::read_to_string(path).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
    let number = text
        .lines()
        .find_map(|l| l.strip_prefix("Pid:")?.trim().parse().ok());
    number.and_then(Pid::from_raw).ok_or(Errno::SRCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn helpers_that_stand_still_are_not_waited_for() {
        let (told, teller) = pass::pair().unwrap();
        let short = Duration::from_millis(20);
        let mut made = Made::default();
        pass::send(&teller, &[HELPER], &[teller.as_fd()]).unwrap();
        let late = hear(&told, &mut made, short).unwrap_err();
        assert_eq!(late, LaunchError::Vanished("its helper said nothing in time"));
        assert!(made.helper.is_some() && made.born.is_none());
        pass::send(&teller, &[BORN], &[teller.as_fd()]).unwrap();
        hear(&told, &mut made, Duration::from_secs(10)).unwrap();
        assert!(made.born.is_some());
    }
}
