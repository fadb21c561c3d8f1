//! PID 1 inside every sandbox: reaps, execs, reports; static.
//!
//! Started inside the finished view with no capability left, descriptor 3 being the socket to the launcher and 0 to 2 the
//! agent's pipes. When the launcher goes away, everything inside ends.
#![forbid(unsafe_code)]
#![cfg_attr(not(feature = "std"), no_std, no_main)]

extern crate alloc;

mod account;
mod agent;
mod engine;
mod inner;
mod serve;
mod served;

use alloc::vec;
use alloc::vec::Vec;
use qila_sys::pass;
use qila_wire::{Begin, MAX_PACKET, Report, decode, encode};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;

/// Descriptor of the socket to the launcher.
const CONTROL: u32 = 3;

qila_sys::program!(program);

fn program() -> i32 {
    if qila_sys::exec::is_closed(CONTROL) {
        return inner::run();
    }
    // Whatever goes wrong from here on, the launcher sees the socket close and treats it as the end of the run.
    match run() {
        Ok(()) => 0,
        Err(_) => 70,
    }
}

fn run() -> Result<(), Errno> {
    qila_sys::caps::not_dumpable()?;
    qila_sys::caps::die_with_parent()?;
    qila_sys::exec::cloexec_from(CONTROL)?;
    let control = qila_sys::exec::adopt(CONTROL)?;
    let mut buffer = vec![0u8; MAX_PACKET];
    let (n, fds) = pass::receive(&control, &mut buffer)?;
    let begin: Begin = decode(buffer.get(..n).unwrap_or(&[])).map_err(|_| Errno::PROTO)?;
    drop(buffer);
    match begin {
        Begin::Run(start) => serve::serve(&control, &start, false),
        Begin::Engine(engine) => engine::serve(&control, &engine),
        Begin::Serve(cage) => served::serve(control, &cage, fds),
    }
}

/// Sends one report.
pub(crate) fn report(control: &OwnedFd, report: &Report, fds: &[&OwnedFd]) -> Result<(), Errno> {
    let packet = encode(report).map_err(|_| Errno::MSGSIZE)?;
    let borrowed: Vec<_> = fds.iter().map(|fd| fd.as_fd()).collect();
    pass::send(control, &packet, &borrowed)
}
