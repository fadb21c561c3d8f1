//! The guest's loop: orders in, reports out, children reaped.
use crate::{account, agent, report};
use qila_sys::pass;
use qila_sys::signal::SignalFd;
use qila_wire::{Order, Report, Start, decode};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, wait};

const SIGCHLD: i32 = 17;

struct Ended {
    code: Option<i32>,
    signal: Option<i32>,
}

/// Runs the agent to its end, or the engine that it is in.
pub(crate) fn serve(control: &OwnedFd, start: &Start, engine: bool) -> Result<(), Errno> {
    let signals = SignalFd::new(&[SIGCHLD])?;
    let terminal = match start.terminal {
        Some(size) => Some(open_terminal(control, size)?),
        None => None,
    };
    let around = agent::Around {
        argv: &start.argv,
        env: &start.env,
        cwd: &start.cwd,
        limits: &start.limits,
        cpus: &start.cpus,
        landlock: Some(&start.landlock),
        filter: &start.filter,
        engine,
        bare: false,
    };
    let agent = match agent::start(&around, terminal.as_ref(), None) {
        Ok(agent) => agent,
        Err(errno) => {
            return report(
                control,
                &Report::NotStarted {
                    errno: errno.raw_os_error(),
                },
                &[],
            );
        }
    };
    drop(terminal);
    close_pipes()?;
    report(control, &Report::Started, &[])?;
    let mut peak = 0u64;
    let ended = loop {
        let every = start.accounting.as_ref().map(|a| millis(a.every_ms));
        let (spoken, signalled) = {
            let mut fds = [
                PollFd::new(control, PollFlags::IN),
                PollFd::new(&signals, PollFlags::IN),
            ];
            match poll(&mut fds, every.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(e) => return Err(e),
            }
            let [control, signals] = &fds;
            (!control.revents().is_empty(), !signals.revents().is_empty())
        };
        if spoken && obey(control, agent.pid)? {
            kill_all();
        }
        if signalled {
            while signals.next().is_some() {}
            if let Some(ended) = reap(agent.pid) {
                break ended;
            }
        }
        if let Some(accounting) = &start.accounting {
            // What cannot be measured is over the limit.
            let used = account::sample(accounting).unwrap_or(u64::MAX);
            if used != u64::MAX {
                peak = peak.max(used);
            }
            if used > accounting.memory {
                report(control, &Report::OverLimit { memory: used }, &[])?;
                kill_all();
            }
        }
    };
    kill_all();
    while wait(WaitOptions::empty()).is_ok_and(|w| w.is_some()) {}
    let (cpu_ms, largest) = usage();
    let peak_memory = if start.accounting.is_some() { peak } else { largest };
    report(
        control,
        &Report::Ended {
            code: ended.code,
            signal: ended.signal,
            cpu_ms,
            peak_memory,
        },
        &[],
    )
}

fn millis(ms: u32) -> Timespec {
    Timespec {
        tv_sec: i64::from(ms / 1000),
        tv_nsec: i64::from(ms % 1000) * 1_000_000,
    }
}

/// Reads one order. True: end everything.
fn obey(control: &OwnedFd, agent: Pid) -> Result<bool, Errno> {
    let mut buffer = [0u8; 64];
    let (n, _) = pass::receive(control, &mut buffer)?;
    if n == 0 {
        return Err(Errno::PIPE); // the launcher is gone; ending PID 1 ends everything
    }
    match decode::<Order>(buffer.get(..n).unwrap_or(&[])) {
        Ok(Order::Kill) => Ok(true),
        Ok(Order::Signal(number)) => {
            if let Some(signal) = Signal::from_named_raw(number) {
                let _ = kill_process_group(agent, signal);
            }
            Ok(false)
        }
        Err(_) => Err(Errno::PROTO),
    }
}

/// Kills every process of the namespace but this one.
fn kill_all() {
    let _ = qila_sys::signal::kill_everyone_else();
}

fn reap(agent: Pid) -> Option<Ended> {
    let mut ended = None;
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if pid == agent {
            ended = Some(Ended {
                code: status.exit_status(),
                signal: status.terminating_signal(),
            });
        }
    }
    ended
}

/// Gives the pipes up, so that their other ends close when the agent's do.
pub(crate) fn close_pipes() -> Result<(), Errno> {
    let null = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)
}

fn open_terminal(control: &OwnedFd, size: qila_wire::Size) -> Result<OwnedFd, Errno> {
    let (main, agent) = terminal(size)?;
    report(control, &Report::Terminal, &[&main])?;
    Ok(agent)
}

/// A terminal: its controlling end and the agent's.
pub(crate) fn terminal(size: qila_wire::Size) -> Result<(OwnedFd, OwnedFd), Errno> {
    use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let main = openpt(flags)?;
    unlockpt(&main)?;
    rustix::termios::tcsetwinsize(&main, winsize(size))?;
    let agent = ioctl_tiocgptpeer(&main, flags)?;
    Ok((main, agent))
}

pub(crate) fn winsize(size: qila_wire::Size) -> rustix::termios::Winsize {
    rustix::termios::Winsize {
        ws_row: size.rows,
        ws_col: size.cols,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

/// Processor time of all that was reaped, in milliseconds, and the largest resident set of any, in bytes.
fn usage() -> (u64, u64) {
    qila_sys::signal::children_usage()
}
