//! A sandbox that outlives commands: whoever connects asks for things, each on a channel of its own.
//!
//! Programs are looked after here, by one loop that never waits for any one reader. What touches files is done by a worker, a
//! child forked for it, which may take its time and can hurt nobody else. All are in one Landlock domain, the guest too.
mod adopt;
mod beneath;
mod channel;
mod exec;
mod files;
mod log;
mod look;
mod program;
mod table;
mod watch;
mod work;

use crate::{account, agent, report};
use alloc::vec::Vec;
use channel::Channel;
use qila_sys::signal::SignalFd;
use qila_wire::Report;
use qila_wire::served::{Answer, Ask, Cage, Usage};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::statvfs;
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};
use table::Table;

const SIGCHLD: i32 = 17;
const SIGKILL: i32 = 9;
const SIGCONT: i32 = 18;
const SIGSTOP: i32 = 19;
/// Most channels at once; whoever comes then waits.
const CHANNELS: usize = 256;
/// Most workers at once.
const WORKERS: usize = 128;

/// Everything that the guest knows.
struct Guest<'a> {
    cage: &'a Cage,
    listener: OwnedFd,
    held: Vec<OwnedFd>,
    channels: Vec<Channel>,
    programs: Table,
    workers: Vec<rustix::process::Pid>,
    over: bool,
    /// There may be sandboxes beneath this one.
    above: bool,
}

/// Serves until it is killed: nothing that is said ends it.
pub(crate) fn serve(control: OwnedFd, cage: &Cage, mut fds: Vec<OwnedFd>) -> Result<(), Errno> {
    if fds.is_empty() {
        return Err(Errno::BADF);
    }
    let listener = fds.remove(0);
    // Who started it ignores its children; this one wants to know of them.
    qila_sys::signal::reset_all()?;
    let signals = SignalFd::new(&[SIGCHLD])?;
    crate::serve::close_pipes()?;
    agent::confine(&cage.landlock)?;
    // From here on it belongs to nobody: who started it may go, and come back by the socket. Before it is said, since what was said
    // may be promised to others at once.
    qila_sys::caps::live_on()?;
    report(&control, &Report::Started, &[])?;
    drop(control);
    let mut guest = Guest {
        cage,
        listener,
        held: fds,
        channels: Vec::new(),
        programs: Table::default(),
        workers: Vec::new(),
        over: false,
        above: false,
    };
    loop {
        guest.turn(&signals)?;
    }
}

/// Sends a signal to all programs. The kernel would send it to those of sandboxes beneath too.
fn signal_all(above: bool, signal: i32) -> Result<(), Errno> {
    match above {
        true => beneath::signal_own(signal),
        false => qila_sys::signal::signal_everyone_else(signal),
    }
}

/// What a turn of the loop found.
#[derive(Default)]
struct Ready {
    signalled: bool,
    called: bool,
    /// Channels, by their place, that can be read from or written to, or are broken.
    channels: Vec<usize>,
}

impl Guest<'_> {
    fn turn(&mut self, signals: &SignalFd) -> Result<(), Errno> {
        let ready = self.wait(signals)?;
        if ready.signalled {
            while signals.next().is_some() {}
            self.reap();
        }
        for at in ready.channels {
            self.hear(at);
        }
        for channel in &mut self.channels {
            adopt::hear(channel, &mut self.programs);
        }
        self.programs.read(&self.channels);
        for channel in &mut self.channels {
            self.programs.give(channel);
        }
        self.drop_closed();
        if ready.called {
            self.take_calls();
        }
        self.account();
        Ok(())
    }

    fn wait(&mut self, signals: &SignalFd) -> Result<Ready, Errno> {
        let mut fds = Vec::with_capacity(2 + self.channels.len() + 4);
        fds.push(PollFd::new(signals, PollFlags::IN));
        // One that is not waited for says nothing.
        let calls = if self.channels.len() < CHANNELS {
            PollFlags::IN
        } else {
            PollFlags::empty()
        };
        fds.push(PollFd::new(&self.listener, calls));
        for channel in &self.channels {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::OUT, channel.has_more());
            flags.set(PollFlags::IN, true);
            fds.push(PollFd::new(&channel.fd, flags));
        }
        let adoptions = self.channels.iter().filter_map(|c| c.adopts.as_ref());
        fds.extend(adoptions.map(|a| PollFd::new(&a.door, PollFlags::IN)));
        self.programs.interests(&self.channels, &mut fds);
        let every = self.cage.accounting.as_ref().map(|a| Timespec {
            tv_sec: i64::from(a.every_ms / 1000),
            tv_nsec: i64::from(a.every_ms % 1000) * 1_000_000,
        });
        match poll(&mut fds, every.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
        let mut ready = Ready::default();
        for (at, fd) in fds.iter().take(2 + self.channels.len()).enumerate() {
            if fd.revents().is_empty() {
                continue;
            }
            match at {
                0 => ready.signalled = true,
                1 => ready.called = true,
                n => ready.channels.push(n - 2),
            }
        }
        Ok(ready)
    }

    fn take_calls(&mut self) {
        while self.channels.len() < CHANNELS {
            match accept_with(&self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(fd) => self.channels.push(Channel::new(fd)),
                Err(_) => return,
            }
        }
    }

    /// Reads what a channel says and does it.
    fn hear(&mut self, at: usize) {
        let Some(channel) = self.channels.get_mut(at) else {
            return;
        };
        channel.write();
        channel.read();
        if channel.adopts.is_some() {
            return; // what is said now is for the program that is expected
        }
        if let Some(pid) = channel.program() {
            while let Some(say) = channel.next() {
                self.programs.say(channel, pid, say);
            }
        } else if let Some(ask) = channel.next::<Ask>() {
            self.answer(at, ask);
        }
    }

    fn answer(&mut self, at: usize, ask: Ask) {
        let usage = matches!(ask, Ask::Usage).then(|| self.usage());
        let Some(channel) = self.channels.get_mut(at) else {
            return;
        };
        match ask {
            Ask::Exec(exec) => match exec::start(self.cage, exec) {
                Ok(program) => self.programs.add(program, channel),
                Err(e) => channel.fail("starting the program", e),
            },
            Ask::Zygote(exec) => {
                self.above = true;
                adopt::start_zygote(self.cage, exec, &mut self.programs, channel);
            }
            Ask::Adopt(exec) => adopt::expect(exec, channel),
            Ask::Attach { pid, from } => self.programs.attach(channel, pid, from),
            Ask::Tell { pid, say } => self.programs.tell(channel, pid, say),
            Ask::Programs => {
                let list = self.programs.list();
                channel.last(&Answer::Programs(list));
            }
            Ask::Usage => channel.last(&Answer::Usage(usage.unwrap_or_default())),
            Ask::Listeners => {
                let fds: Vec<_> = self.held.iter().map(|fd| fd.as_fd()).collect();
                channel.pass(&Answer::Done, &fds);
            }
            Ask::Still(still) => {
                let sent = signal_all(self.above, if still { SIGSTOP } else { SIGCONT });
                channel.done("stopping every program", sent);
            }
            Ask::Clear => {
                let sent = signal_all(self.above, SIGKILL);
                self.programs.clear();
                self.finish(at, "ending every program", sent);
            }
            other => self.work(at, other),
        }
    }

    fn finish(&mut self, at: usize, what: &'static str, result: Result<(), Errno>) {
        if let Some(channel) = self.channels.get_mut(at) {
            channel.done(what, result);
        }
    }

    /// Gives a channel to a worker.
    fn work(&mut self, at: usize, ask: Ask) {
        if self.workers.len() >= WORKERS {
            return self.finish(at, "doing so much at once", Err(Errno::AGAIN));
        }
        let Some(channel) = self.channels.get_mut(at) else {
            return;
        };
        match work::hand_over(channel, ask, &self.cage.home) {
            Ok(pid) => {
                self.workers.push(pid);
                channel.closed = true; // it is the worker's now
            }
            Err(e) => channel.fail("forking a worker", e),
        }
    }

    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = rustix::process::wait(rustix::process::WaitOptions::NOHANG) {
            self.workers.retain(|worker| *worker != pid);
            self.programs
                .ended(pid, status.exit_status(), status.terminating_signal());
        }
    }

    fn drop_closed(&mut self) {
        for channel in self.channels.iter().filter(|c| c.closed) {
            self.programs.left(channel);
        }
        self.channels.retain(|c| !c.closed);
    }

    /// Ends everything if more memory is used than may be, where no cgroup sees to it.
    fn account(&mut self) {
        let Some(accounting) = &self.cage.accounting else {
            return;
        };
        // What cannot be measured is over the limit.
        if account::sample(accounting).unwrap_or(u64::MAX) > accounting.memory {
            self.over = true;
            let _ = signal_all(self.above, SIGKILL);
        }
    }

    fn usage(&self) -> Usage {
        let scratch = statvfs("/tmp").map_or(0, |fs| {
            fs.f_blocks.saturating_sub(fs.f_bfree).saturating_mul(fs.f_frsize)
        });
        Usage {
            cpu_ms: qila_sys::signal::children_usage().0,
            scratch,
            memory: self
                .cage
                .accounting
                .as_ref()
                .and_then(|a| account::sample(a).ok()),
            over: self.over,
        }
    }
}
