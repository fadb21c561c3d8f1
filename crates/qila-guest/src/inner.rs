//! Inside of an engine: PID 1 of the agent's kernel. There is no socket to the launcher here: what is to run lies in a file, signals
//! come from the engine, and the end is told by the exit code.
use crate::{agent, serve};
use alloc::string::String;
use alloc::vec;
use qila_sys::signal::SignalFd;
use qila_wire::{Begin, MAX_PACKET, decode};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, wait};

/// Where what is to run lies.
const BEGIN: &core::ffi::CStr = c"/run/qila-init/begin";
/// Signals that are passed on to the agent's process group.
const PASSED: [i32; 6] = [1, 2, 3, 10, 12, 15];
const SIGCHLD: i32 = 17;

/// Runs the agent to its end. Answers the exit code: as shells have it, where the agent could not be started, or a signal ended it.
pub(crate) fn run() -> i32 {
    match agent_to_its_end() {
        Ok(code) => code,
        Err(errno) => {
            let text: String = match errno {
                Errno::NOENT => "qila: the command was not found in the sandbox\n".into(),
                other => alloc::format!(
                    "qila: the command could not be started in the sandbox: error {}\n",
                    other.raw_os_error()
                ),
            };
            if let Ok(errors) = qila_sys::exec::adopt(2) {
                let _ = rustix::io::write(&errors, text.as_bytes()); // there is nobody else to tell
            }
            if errno == Errno::NOENT { 127 } else { 126 }
        }
    }
}

fn agent_to_its_end() -> Result<i32, Errno> {
    qila_sys::caps::not_dumpable()?;
    qila_sys::exec::cloexec_from(3)?;
    // The engine was told to give it none.
    if !qila_sys::caps::none()? {
        return Err(Errno::PERM);
    }
    let file = open(BEGIN, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(|_| Errno::IO)?;
    let mut buffer = vec![0u8; MAX_PACKET];
    let mut filled = 0;
    loop {
        let rest = buffer.get_mut(filled..).filter(|r| !r.is_empty());
        let n = rustix::io::read(&file, rest.ok_or(Errno::TOOBIG)?)?;
        if n == 0 {
            break;
        }
        filled += n;
    }
    drop(file);
    let Ok(Begin::Run(start)) = decode(buffer.get(..filled).unwrap_or(&[])) else {
        return Err(Errno::PROTO);
    };
    let [hup, int, quit, usr1, usr2, term] = PASSED;
    let around = agent::Around {
        argv: &start.argv,
        env: &start.env,
        cwd: &start.cwd,
        limits: &start.limits,
        cpus: &[],
        landlock: None,
        filter: &start.filter,
        engine: false,
        bare: true,
    };
    if start.terminal.is_some() {
        // The engine has given this session its terminal: the agent takes its place.
        return Err(agent::replace(&around));
    }
    let signals = SignalFd::new(&[SIGCHLD, hup, int, quit, usr1, usr2, term])?;
    let agent = agent::start(&around, None, None)?;
    serve::close_pipes()?;
    loop {
        let mut fds = [PollFd::new(&signals, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
        while let Some(number) = signals.next() {
            if number != SIGCHLD
                && let Some(signal) = Signal::from_named_raw(number)
            {
                let _ = kill_process_group(agent.pid, signal); // one that is gone is seen to be
            }
        }
        if let Some(code) = reap(agent.pid) {
            return Ok(code);
        }
    }
}

fn reap(agent: Pid) -> Option<i32> {
    let mut ended = None;
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if pid == agent {
            let signal = status.terminating_signal().map(|s| 128 + s);
            ended = status.exit_status().or(signal);
        }
    }
    ended
}
