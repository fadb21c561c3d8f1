//! The sandboxes beneath a zygote's: to its guest their processes are there as its own are, and are none of its business.
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::mem::MaybeUninit;
use rustix::fs::{CWD, Mode, OFlags, RawDir, openat};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

/// How often it is looked whether a process has made another meanwhile.
const TURNS: usize = 64;

/// Sends a signal to every process of this namespace but the guest, and to none of a namespace beneath.
pub(super) fn signal_own(number: i32) -> Result<(), Errno> {
    let signal = Signal::from_named_raw(number).ok_or(Errno::INVAL)?;
    let mut told: Vec<Pid> = Vec::new();
    for _ in 0..TURNS {
        let before = told.len();
        for pid in own()? {
            if !told.contains(&pid) {
                match kill_process(pid, signal) {
                    Ok(()) | Err(Errno::SRCH) => told.push(pid),
                    Err(e) => return Err(e),
                }
            }
        }
        if told.len() == before {
            return Ok(());
        }
    }
    Err(Errno::AGAIN) // it makes processes faster than they are told
}

fn own() -> Result<Vec<Pid>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = openat(CWD, c"/proc", flags, Mode::empty())?;
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut entries = RawDir::new(proc, &mut buffer);
    let mut own = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let number = entry
            .file_name()
            .to_str()
            .ok()
            .and_then(|n| n.parse::<i32>().ok());
        let Some(number) = number.filter(|n| *n > 1) else {
            continue;
        };
        match status(number) {
            Ok(status) if crate::account::is_beneath(&status) => {}
            Ok(_) => own.extend(Pid::from_raw(number)),
            // It ended between the listing and the look.
            Err(Errno::NOENT | Errno::SRCH) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(own)
}

/// What the kernel tells of a process.
pub(super) fn status(number: i32) -> Result<Vec<u8>, Errno> {
    let path = format!("/proc/{number}/status");
    let fd = openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut buffer = vec![0u8; 8192];
    let n = rustix::io::read(&fd, &mut buffer)?;
    buffer.truncate(n);
    Ok(buffer)
}
