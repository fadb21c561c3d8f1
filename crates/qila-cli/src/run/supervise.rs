//! Looking after a running agent: streams, signals, limits.
use super::change::Changes;
use super::relay::{Moved, Relay};
use super::terminal::{self, Raw};
use super::witness::Witness;
use crate::fail::Fail;
use qila_plan::Plan;
use qila_sandbox::{LaunchError, Sandbox, counters};
use qila_sys::signal::SignalFd;
use qila_types::Bytes;
use qila_wire::{Order, Report};
use qila_workspace::{DiskSampler, Usage};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::termios::{Winsize, tcsetwinsize};
use std::time::{Duration, Instant};

/// Time between two looks at what is sampled.
const TICK: Duration = Duration::from_millis(100);
/// The same where the workspace layer may only grow a little: a look is one call, and a disk takes much in a tenth of a second.
const SHORT_TICK: Duration = Duration::from_millis(20);
const LITTLE: u64 = 1 << 30;
/// Time between asking an agent to end and ending it.
const GRACE: Duration = Duration::from_secs(10);

const HUP: i32 = 1;
const INT: i32 = 2;
const QUIT: i32 = 3;
const USR1: i32 = 10;
const USR2: i32 = 12;
const TERM: i32 = 15;
const WINCH: i32 = 28;

/// How a run ended.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    /// Exit code.
    pub code: Option<i32>,
    /// Signal.
    pub signal: Option<i32>,
    /// The limit that ended it.
    pub limit: Option<Reached>,
    /// Whether Qila was told to end it, by a signal.
    pub told: bool,
    /// Wall-clock time in milliseconds.
    pub wall_ms: u64,
    /// Processor time in milliseconds.
    pub cpu_ms: u64,
    /// Peak memory in bytes.
    pub peak_memory: u64,
    /// Bytes of output.
    pub output: u64,
}

/// A limit that was reached.
#[derive(Debug)]
pub(crate) struct Reached {
    /// The clause.
    pub clause: &'static str,
    /// What happened, in words.
    pub words: String,
}

impl Reached {
    fn memory() -> Reached {
        Reached {
            clause: "resources.memory",
            words: "memory limit reached".into(),
        }
    }
}

/// Our ends of the agent's streams.
pub(crate) struct Streams {
    /// Standard input, output and error.
    pub ours: [OwnedFd; 3],
    /// Controlling end of its terminal instead of them.
    pub controlling: Option<OwnedFd>,
}

fn own(fd: impl AsFd) -> Result<OwnedFd, Fail> {
    rustix::io::fcntl_dupfd_cloexec(fd, 3).map_err(|e| Fail::new(format!("a standard stream is closed: {e}")))
}

/// Runs until the agent has ended and everything that it wrote was passed on.
pub(crate) fn supervise(
    sandbox: &mut Sandbox,
    plan: &Plan,
    streams: Streams,
    witness: &mut Witness<'_, '_>,
    changes: &mut Changes<'_>,
) -> Result<Ending, Fail> {
    let signals = SignalFd::new(&[HUP, INT, QUIT, USR1, USR2, TERM, WINCH])
        .map_err(|e| Fail::new(format!("taking over signals: {e}")))?;
    qila_sys::signal::ignore(13); // a reader that went away is an error of write, not the end of Qila
    let Streams {
        ours: [feed, out, err],
        controlling,
    } = streams;
    let _raw = controlling.as_ref().and_then(|_| Raw::enter());
    let mut relays = match &controlling {
        Some(main) => {
            drop((feed, out, err));
            vec![
                Relay::new(own(rustix::stdio::stdin())?, own(main)?),
                Relay::new(own(main)?, own(rustix::stdio::stdout())?),
            ]
        }
        None => {
            rustix::io::ioctl_fionbio(&feed, true).map_err(|e| Fail::new(format!("preparing input: {e}")))?;
            vec![
                Relay::new(own(rustix::stdio::stdin())?, feed),
                Relay::new(out, own(rustix::stdio::stdout())?),
                Relay::new(err, own(rustix::stdio::stderr())?),
            ]
        }
    };
    let limit = plan.timers().output.map(|b| b.0);
    if let Some(limit) = limit {
        relays.iter_mut().skip(1).for_each(|r| r.limit(limit));
    }
    let mut watch = Watch {
        plan,
        disk: disk_sampler(plan)?,
        started: Instant::now(),
        ending: Ending::default(),
        killed: false,
        grace: None,
    };
    let mut ended = false;
    while !(ended && relays.iter().skip(1).all(Relay::finished)) {
        let ready = wait(sandbox, &signals, &relays, witness, watch.tick_of(ended))?;
        if ready.gateway
            && let Some(outcome) = witness.hear()?
        {
            changes.done(outcome)?;
        }
        if ready.control && !ended {
            ended = watch.report(sandbox)?;
        }
        while let Some(signal) = signals.next() {
            if signal == USR2 {
                changes.asked(witness)?;
                continue;
            }
            watch.signal(sandbox, signal, controlling.as_ref())?;
        }
        for (relay, _) in relays.iter_mut().zip(&ready.relays).filter(|(_, ready)| **ready) {
            if relay.step() == Moved::Deaf && controlling.is_some() {
                watch.kill(sandbox)?; // the terminal is gone
            }
        }
        let output: u64 = relays.iter().skip(1).map(|r| r.total).sum();
        watch.ending.output = output;
        if let Some(limit) = plan.timers().output.filter(|l| output > l.0) {
            watch.over(
                sandbox,
                "resources.output",
                format!("output limit {limit} reached"),
            )?;
        }
        if !ended {
            watch.tick(sandbox)?;
        }
    }
    Ok(watch.done())
}

/// Gives an order. A guest that is gone has nothing left to obey; any other failure is one.
fn tell(sandbox: &Sandbox, order: Order) -> Result<(), Fail> {
    sandbox
        .order(order)
        .map_err(|e| Fail::new(format!("the sandbox could not be told, and was ended: {e}")))
}

struct Ready {
    control: bool,
    gateway: bool,
    relays: Vec<bool>,
}

fn wait(
    sandbox: &Sandbox,
    signals: &SignalFd,
    relays: &[Relay],
    witness: &Witness<'_, '_>,
    (tick, ended): (Duration, bool),
) -> Result<Ready, Fail> {
    let mut fds = Vec::with_capacity(6);
    let control = sandbox.control();
    if !ended {
        fds.push(PollFd::from_borrowed_fd(control, PollFlags::IN));
    }
    let first = fds.len() + 1;
    fds.push(PollFd::new(signals, PollFlags::IN));
    // Input is of no use to an agent that has ended.
    let mut at = Vec::with_capacity(relays.len());
    for (i, relay) in relays.iter().enumerate() {
        if let Some(fd) = relay.interest().filter(|_| !(ended && i == 0)) {
            fds.push(fd);
            at.push(i);
        }
    }
    fds.extend(
        witness
            .link()
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)),
    );
    let timeout = Timespec {
        tv_sec: 0,
        tv_nsec: i64::from(tick.subsec_nanos()),
    };
    match poll(&mut fds, Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(e) => return Err(Fail::new(format!("waiting for the sandbox: {e}"))),
    }
    let mut out = Ready {
        control: false,
        gateway: witness.link().is_some() && fds.last().is_some_and(|f| !f.revents().is_empty()),
        relays: vec![false; relays.len()],
    };
    out.control = !ended && fds.first().is_some_and(|f| !f.revents().is_empty());
    for (fd, i) in fds.iter().skip(first).zip(at) {
        if let Some(slot) = out.relays.get_mut(i) {
            *slot = !fd.revents().is_empty();
        }
    }
    Ok(out)
}

struct Watch<'a> {
    plan: &'a Plan,
    disk: Option<DiskSampler>,
    started: Instant,
    ending: Ending,
    killed: bool,
    grace: Option<Instant>,
}

impl Watch<'_> {
    /// How long to wait at most, and whether the agent has ended.
    fn tick_of(&self, ended: bool) -> (Duration, bool) {
        let little = self.plan.timers().layer.is_some_and(|limit| limit.0 < LITTLE);
        (if little && !ended { SHORT_TICK } else { TICK }, ended)
    }

    /// Takes one report. True: the agent has ended.
    fn report(&mut self, sandbox: &mut Sandbox) -> Result<bool, Fail> {
        match sandbox.receive() {
            Ok((
                Report::Ended {
                    code,
                    signal,
                    cpu_ms,
                    peak_memory,
                },
                _,
            )) => {
                self.ending.code = code;
                self.ending.signal = signal;
                self.ending.cpu_ms = cpu_ms;
                self.ending.peak_memory = peak_memory;
                Ok(true)
            }
            Ok((Report::OverLimit { .. }, _)) => {
                let limit = self.plan.accounting().as_ref().map_or(0, |a| a.memory);
                self.over(
                    sandbox,
                    "resources.memory",
                    format!("memory limit {} reached", Bytes(limit)),
                )?;
                Ok(false)
            }
            Ok(_) => Err(Fail::new("the sandbox spoke out of turn and was ended")),
            // PID 1 gone without a word: it was killed from outside, by the kernel for memory for instance.
            Err(
                LaunchError::Vanished(_)
                | LaunchError::Step {
                    errno: Errno::CONNRESET,
                    ..
                },
            ) => {
                self.ending.signal = Some(9);
                Ok(true)
            }
            Err(e) => Err(Fail::new(e.to_string())),
        }
    }

    fn signal(&mut self, sandbox: &Sandbox, signal: i32, controlling: Option<&OwnedFd>) -> Result<(), Fail> {
        match signal {
            WINCH => {
                if let (Some(main), Some(size)) = (controlling, terminal::size()) {
                    let size = Winsize {
                        ws_row: size.rows,
                        ws_col: size.cols,
                        ws_xpixel: 0,
                        ws_ypixel: 0,
                    };
                    let _ = tcsetwinsize(main, size);
                }
            }
            USR1 => {
                self.ending.told = true;
                self.kill(sandbox)?;
            }
            other => {
                self.ending.told |= matches!(other, TERM | HUP);
                tell(sandbox, Order::Signal(other))?;
                if matches!(other, TERM | HUP) && self.grace.is_none() {
                    self.grace = Some(Instant::now() + GRACE);
                }
            }
        }
        Ok(())
    }

    /// Orders the end. A guest that cannot be told is an error, and the error ends the sandbox from outside.
    fn kill(&mut self, sandbox: &Sandbox) -> Result<(), Fail> {
        if !self.killed {
            self.killed = true;
            tell(sandbox, Order::Kill)?;
        }
        Ok(())
    }

    fn over(&mut self, sandbox: &Sandbox, clause: &'static str, words: String) -> Result<(), Fail> {
        self.ending.limit.get_or_insert(Reached { clause, words });
        self.kill(sandbox)
    }

    fn tick(&mut self, sandbox: &Sandbox) -> Result<(), Fail> {
        if let Some(limit) = self.plan.timers().wall_time
            && self.started.elapsed() >= Duration::from_millis(limit.0)
        {
            self.over(
                sandbox,
                "resources.wall_time",
                format!("wall time limit {limit} reached"),
            )?;
        }
        if self.grace.is_some_and(|g| Instant::now() >= g) {
            self.kill(sandbox)?;
        }
        if self.plan.cgroup().oom.is_some() && counters(self.plan.cgroup()).killed_for_memory > 0 {
            self.over(sandbox, "resources.memory", Reached::memory().words)?;
        }
        if let (Some(limit), Some(disk)) = (self.plan.timers().layer, &mut self.disk)
            && let Some(wrong) = over_layer(disk.sample(), limit)
        {
            self.over(sandbox, "resources.disk", wrong)?;
        }
        Ok(())
    }

    fn done(mut self) -> Ending {
        let counted = counters(self.plan.cgroup());
        if counted.killed_for_memory > 0 {
            self.ending.limit.get_or_insert_with(Reached::memory);
        }
        // What an agent wrote between the last look and its end counts like the rest.
        if let (Some(limit), Some(disk)) = (self.plan.timers().layer, &mut self.disk)
            && let Some(words) = over_layer(disk.walk(), limit)
        {
            let clause = "resources.disk";
            self.ending.limit.get_or_insert(Reached { clause, words });
        }
        if let Some(peak) = counted.peak_memory {
            self.ending.peak_memory = peak;
        }
        self.ending.wall_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.ending
    }
}

/// Watches the workspace layer, where there is one and it has a limit.
fn disk_sampler(plan: &Plan) -> Result<Option<DiskSampler>, Fail> {
    let layer = plan.view().entries.iter().find_map(|e| match e {
        qila_plan::ViewEntry::Layer { upper, .. } => Some(upper),
        _ => None,
    });
    let (Some(upper), Some(limit)) = (layer, plan.timers().layer) else {
        return Ok(None);
    };
    let fail = |e: Errno| Fail::new(format!("the workspace layer {upper} cannot be measured: {e}"));
    let dir = rustix::fs::open(
        upper.as_str(),
        OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(fail)?;
    DiskSampler::new(dir, limit.0).map(Some).map_err(fail)
}

/// What is wrong with the use of the layer, if anything is. What cannot be measured is over the limit.
fn over_layer(used: Result<Usage, Errno>, limit: Bytes) -> Option<String> {
    match used {
        Err(e) => Some(format!(
            "disk limit {limit}: the workspace layer cannot be measured ({e})"
        )),
        Ok(used) if used.unreadable > 0 => Some(format!(
            "disk limit {limit}: the workspace layer has {} directories that cannot be looked into",
            used.unreadable
        )),
        Ok(used) => used
            .exceeded
            .then(|| format!("disk limit reached: {limit} in the workspace layer")),
    }
}
