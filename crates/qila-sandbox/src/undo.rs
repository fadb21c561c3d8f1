//! What a launch leaves on the host, and how each thing goes away again.
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use std::path::PathBuf;
use std::time::Duration;

/// Attempts to remove a cgroup whose processes are still on their way out, and the pause between two.
const ATTEMPTS: u32 = 400;
const PAUSE: Duration = Duration::from_millis(5);

/// One thing to be taken back.
#[derive(Debug)]
pub enum Undo {
    /// Remove an empty directory.
    Directory(PathBuf),
    /// Remove a cgroup, waiting for its last process to be gone.
    Cgroup(PathBuf),
    /// End the sandbox: killing its PID 1 ends everything in it, and takes its mounts and network along.
    Process(OwnedFd),
}

impl Undo {
    /// Takes it back. What is already gone is no error.
    pub fn run(&self) -> Result<(), Errno> {
        match self {
            Undo::Directory(path) => gone(rustix::fs::rmdir(path)),
            Undo::Cgroup(path) => sweep_cgroup(path),
            Undo::Process(pidfd) => {
                gone(pidfd_send_signal(pidfd, Signal::KILL))?;
                match waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED) {
                    Ok(_) => Ok(()),
                    Err(Errno::CHILD) => gone_soon(pidfd),
                    Err(e) => Err(e),
                }
            }
        }
    }
}

/// Waits for a process that is somebody else's child.
fn gone_soon(pidfd: &OwnedFd) -> Result<(), Errno> {
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    let limit = Timespec {
        tv_sec: 2,
        tv_nsec: 0,
    };
    match rustix::io::retry_on_intr(|| poll(&mut fds, Some(&limit))) {
        Ok(0) => Err(Errno::TIMEDOUT),
        Ok(_) => Ok(()),
        Err(e) => Err(e),
    }
}

fn gone(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::NOENT | Errno::SRCH) => Ok(()),
        other => other,
    }
}

/// Kills what is left in a cgroup and removes it, waiting up to two seconds for processes on their way out.
pub fn sweep_cgroup(path: &std::path::Path) -> Result<(), Errno> {
    for attempt in 0..ATTEMPTS {
        match gone(rustix::fs::rmdir(path)) {
            Err(Errno::BUSY) => {}
            other => return other,
        }
        if attempt == 0 {
            kill_members(path);
        }
        std::thread::sleep(PAUSE);
    }
    Err(Errno::BUSY)
}

fn kill_members(path: &std::path::Path) {
    if std::fs::write(path.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    let Ok(text) = std::fs::read_to_string(path.join("cgroup.procs")) else {
        return;
    };
    for pid in text
        .lines()
        .filter_map(|l| l.parse().ok())
        .filter_map(rustix::process::Pid::from_raw)
    {
        // A member of a cgroup of ours: started by us, and told apart from a successor of its number by the pidfd.
        if let Ok(pidfd) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) {
            let still = std::fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
            if still.lines().any(|l| l.parse() == Ok(pid.as_raw_nonzero().get())) {
                let _ = pidfd_send_signal(&pidfd, Signal::KILL);
            }
        }
    }
}

/// Undos in the order in which they were pushed; run in reverse when dropped.
#[derive(Debug, Default)]
pub(crate) struct Undos(Vec<Undo>);

impl Undos {
    pub(crate) fn push(&mut self, undo: Undo) {
        self.0.push(undo);
    }

    /// Somebody else sees to all of it.
    pub(crate) fn forget(&mut self) {
        self.0.clear();
    }

    /// Runs what is left, last first, and answers what failed.
    pub(crate) fn run(&mut self) -> Vec<(String, Errno)> {
        let mut failed = Vec::new();
        while let Some(undo) = self.0.pop() {
            if let Err(errno) = undo.run() {
                failed.push((format!("{undo:?}"), errno));
            }
        }
        failed
    }
}

impl Drop for Undos {
    fn drop(&mut self) {
        self.run();
    }
}
