//! A process is born in the cgroup that it was to be born in. A program of its own: the test harness has threads, and forks of a
//! program with threads are refused.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test program ends by panicking"
)]
use qila_sys::fork::{Fork, Namespaces, exit_now, fork_into};
use rustix::fd::AsFd;
use rustix::process::{WaitId, WaitIdOptions, waitid};
use std::path::PathBuf;

/// Our own cgroup of the unified hierarchy, if there is one and it may be written.
fn own() -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mount = mounts.lines().find(|l| l.contains(" - cgroup2 "))?;
    let cgroups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = cgroups.lines().find_map(|l| l.strip_prefix("0::/"))?;
    Some(PathBuf::from(mount.split(' ').nth(4)?).join(path))
}

fn main() {
    let Some(own) = own() else {
        println!("skipped: birth in a cgroup: there is no unified hierarchy");
        return;
    };
    let name = format!("qila-test-{}", std::process::id());
    let cgroup = own.join(&name);
    if let Err(e) = std::fs::create_dir(&cgroup) {
        println!("skipped: birth in a cgroup: {}: {e}", cgroup.display());
        return;
    }
    let dir = std::fs::File::open(&cgroup).unwrap();
    let (listen, word) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    match fork_into(Namespaces::NONE, Some(dir.as_fd())) {
        Ok(Fork::Child) => {
            let text = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
            let _ = rustix::io::write(&word, text.as_bytes());
            exit_now(0)
        }
        Ok(Fork::Parent { pidfd, .. }) => {
            drop(word);
            let mut buffer = [0u8; 4096];
            let n = rustix::io::read(&listen, &mut buffer).unwrap();
            waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).unwrap();
            std::fs::remove_dir(&cgroup).unwrap();
            let text = String::from_utf8_lossy(buffer.get(..n).unwrap_or(&[])).into_owned();
            let there = text.lines().find(|l| l.starts_with("0::"));
            assert!(there.is_some_and(|l| l.ends_with(&name)), "{text}");
            println!("birth in a cgroup: ok");
        }
        Err(e) => {
            std::fs::remove_dir(&cgroup).unwrap();
            panic!("{e}");
        }
    }
}
