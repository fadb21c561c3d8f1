//! The launcher's side: from a plan to a running agent, and back to nothing.
use crate::backend::Stdio;
use crate::error::{LaunchError, step};
use crate::undo::{Undo, Undos};
use crate::{cgroup, child};
use qila_plan::{Namespace, Plan, Walls};
use qila_sys::fork::{Fork, Namespaces, exit_now, fork_into};
use qila_sys::pass;
use qila_wire::served::Cage;
use qila_wire::{Begin, Engine, MAX_PACKET, Order, Report, Size, Start, decode, encode};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, mkdir};
use rustix::io::Errno;
use rustix::process::Pid;
use std::time::{Duration, Instant};

/// A sandbox from its first process on. Dropping it ends it and takes back everything that it left on the host.
#[derive(Debug)]
pub struct Sandbox {
    control: OwnedFd,
    pid: Pid,
    buffer: Vec<u8>,
    alone: bool,
    patience: Option<Duration>,
    doors: Vec<OwnedFd>,
    process: Option<Undo>,
    undos: Undos,
    wrap: Option<Wrap>,
}

/// Puts an engine around the program that the guest is to start.
pub type Wrap = fn(&Plan, Start) -> Result<Engine, LaunchError>;

/// What the gateway listens on.
#[derive(Debug)]
pub struct Listening {
    /// Redirected TCP connections.
    pub tcp: OwnedFd,
    /// DNS over UDP.
    pub dns_udp: OwnedFd,
    /// DNS over TCP.
    pub dns_tcp: OwnedFd,
}

/// What a first process is born in.
pub(crate) fn at_birth(walls: &Walls) -> Namespaces {
    walls
        .namespaces()
        .iter()
        .fold(Namespaces::NONE, |all, n| all.with(flag(*n)))
}

fn flag(namespace: Namespace) -> Namespaces {
    match namespace {
        Namespace::User => Namespaces::USER,
        Namespace::Mount => Namespaces::MOUNT,
        Namespace::Pid => Namespaces::PID,
        // Made by the child itself: a network takes the kernel longer than all the rest, and the launcher has other work; and
        // a cgroup namespace's root is where the child stands once it is in its cgroups.
        Namespace::Net | Namespace::Ipc | Namespace::Uts | Namespace::Cgroup => Namespaces::NONE,
    }
}

/// The first process of a sandbox, which builds its network and its view by itself.
#[derive(Debug)]
pub struct Born {
    /// The socket to it.
    pub control: OwnedFd,
    /// Its id, as the host counts.
    pub pid: Pid,
    /// A descriptor that names exactly that process.
    pub pidfd: OwnedFd,
}

/// Forks the first process of a sandbox, into a cgroup of the unified hierarchy if one is given. The caller has one thread.
pub fn bear(
    walls: &Walls,
    guest: BorrowedFd<'_>,
    stdio: &Stdio,
    birthplace: Option<BorrowedFd<'_>>,
) -> Result<Born, LaunchError> {
    let (control, theirs) = step("making the control socket", pass::pair())?;
    match step("making namespaces", fork_into(at_birth(walls), birthplace))? {
        Fork::Child => {
            drop(control);
            child::become_guest(walls, theirs, guest, stdio);
            exit_now(70)
        }
        Fork::Parent { pid, pidfd } => Ok(Born { control, pid, pidfd }),
    }
}

/// What a sandbox has on the host before it has a process.
#[derive(Debug)]
pub struct Ground {
    birthplace: Option<OwnedFd>,
    undos: Undos,
}

impl Ground {
    /// Makes what must be there before the first process is.
    pub fn prepare(walls: &Walls) -> Result<Ground, LaunchError> {
        let mut undos = Undos::default();
        if let Some(empty) = &walls.view().empty {
            undos.push(Undo::Directory(empty.into()));
            step(
                format!("making {empty}"),
                mkdir(empty.as_str(), Mode::from_raw_mode(0o700)),
            )?;
        }
        let birthplace = match &walls.cgroup().born_in {
            None => None,
            Some(_) => {
                cgroup::make(walls.cgroup(), &mut undos)?;
                cgroup::birthplace(walls.cgroup())?
            }
        };
        Ok(Ground { birthplace, undos })
    }

    /// The cgroup that the first process is to be born in, if there is one.
    pub fn birthplace(&self) -> Option<BorrowedFd<'_>> {
        self.birthplace.as_ref().map(|fd| fd.as_fd())
    }
}

impl Sandbox {
    /// Makes the cgroups and the first process, which starts to build its network and its view by itself.
    pub fn spawn(plan: &Plan, guest: BorrowedFd<'_>, stdio: Stdio) -> Result<Sandbox, LaunchError> {
        let ground = Ground::prepare(plan.walls())?;
        let born = bear(plan.walls(), guest, &stdio, ground.birthplace())?;
        Sandbox::of(plan.walls(), ground, born)
    }

    /// The same, with an engine around the agent.
    pub fn spawn_around(
        plan: &Plan,
        guest: BorrowedFd<'_>,
        stdio: Stdio,
        wrap: Wrap,
    ) -> Result<Sandbox, LaunchError> {
        let mut sandbox = Sandbox::spawn(plan, guest, stdio)?;
        sandbox.wrap = Some(wrap);
        Ok(sandbox)
    }

    /// Takes a first process over, wherever it was forked.
    pub fn of(walls: &Walls, ground: Ground, born: Born) -> Result<Sandbox, LaunchError> {
        // Whatever fails from here on, the process goes before the cgroups that it is to be in.
        let mut sandbox = Sandbox {
            control: born.control,
            pid: born.pid,
            buffer: vec![0; 1024],
            alone: false,
            patience: None,
            doors: Vec::new(),
            process: Some(Undo::Process(born.pidfd)),
            undos: ground.undos,
            wrap: None,
        };
        if walls.cgroup().born_in.is_none() {
            // While the child makes its namespaces: it joins when it is let go on, before the agent's view exists.
            cgroup::make(walls.cgroup(), &mut sandbox.undos)?;
            sandbox.doors = cgroup::doors(walls.cgroup())?;
        }
        Ok(sandbox)
    }

    /// The first process's id, as the host counts.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// The socket to the guest, to wait on.
    pub fn control(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }

    /// A report of its birth that takes longer is given up: for whoever cannot know that nobody else makes the first process
    /// stand still.
    pub fn hurry(&mut self, patience: Duration) {
        self.patience = Some(patience);
    }

    /// The next report of its birth.
    fn hear(&mut self) -> Result<(Report, Vec<OwnedFd>), LaunchError> {
        match self.patience {
            Some(patience) if !step("listening to the guest", speaks(&self.control, patience))? => {
                Err(LaunchError::Vanished("it did not answer in time"))
            }
            _ => self.receive(),
        }
    }

    /// Waits for the network to be locked and takes the gateway's listeners.
    pub fn listeners(&mut self) -> Result<Listening, LaunchError> {
        match self.hear()? {
            (Report::Locked, fds) => match <[OwnedFd; 3]>::try_from(fds) {
                Ok([tcp, dns_udp, dns_tcp]) => Ok(Listening {
                    tcp,
                    dns_udp,
                    dns_tcp,
                }),
                Err(_) => Err(LaunchError::Vanished("no listeners came")),
            },
            (other, _) => Err(unexpected(other)),
        }
    }

    /// Lets the child go on to build its view: what the plan names on the host has to be there by now. `ca` is the certificate for the agent's trust bundle, if there is one. What
    /// fails in it is told by [`Sandbox::start`].
    pub fn go(&mut self, ca: &[u8]) -> Result<(), LaunchError> {
        let packet = [b"\x01", ca].concat();
        let doors = std::mem::take(&mut self.doors);
        let doors: Vec<_> = doors.iter().map(|fd| fd.as_fd()).collect();
        self.tell("speaking to the child", &packet, &doors)
    }

    /// A child that failed has closed its end, after saying why: that is worth more than the broken pipe.
    fn tell(&self, what: &str, packet: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), LaunchError> {
        match pass::send(&self.control, packet, fds) {
            Ok(()) | Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
            Err(errno) => step(what, Err(errno)),
        }
    }

    /// Starts the agent. Answers the controlling end of its terminal, if it was given one.
    pub fn start(&mut self, plan: &Plan, terminal: Option<Size>) -> Result<Option<OwnedFd>, LaunchError> {
        let env = |v: &qila_plan::EnvVar| [v.name.as_slice(), b"=", v.value.as_slice()].concat();
        let start = Start {
            argv: plan.argv().to_vec(),
            env: plan.environment().iter().map(env).collect(),
            cwd: plan.cwd().as_bytes().to_vec(),
            limits: plan.limits().to_vec(),
            landlock: plan.landlock().clone(),
            filter: plan.filter().to_vec(),
            cpus: plan.cpus().to_vec(),
            terminal,
            accounting: plan.accounting().clone(),
        };
        let begin = match self.wrap {
            None => Begin::Run(start),
            Some(wrap) => Begin::Engine(wrap(plan, start)?),
        };
        let packet = encode(&begin).map_err(|_| LaunchError::Program(Errno::TOOBIG))?;
        // Said before the guest is there to hear it: it need not wait.
        self.tell("speaking to the guest", &packet, &[])?;
        let mut controlling = None;
        loop {
            match self.receive()? {
                (Report::Terminal, mut fds) => controlling = fds.pop(),
                (Report::Started, _) => return Ok(controlling),
                (Report::NotStarted { errno }, _) => {
                    return Err(LaunchError::Program(Errno::from_raw_os_error(errno)));
                }
                (other, _) => return Err(unexpected(other)),
            }
        }
    }

    /// Lets the guest serve whoever connects to a listening socket; `held` are the sockets that a gateway is to listen on, kept
    /// there for whoever asks. From then on it lives on without its launcher.
    pub fn serve(
        &mut self,
        cage: &Cage,
        listener: BorrowedFd<'_>,
        held: &[BorrowedFd<'_>],
    ) -> Result<(), LaunchError> {
        let packet = encode(&Begin::Serve(cage.clone())).map_err(|_| LaunchError::Program(Errno::TOOBIG))?;
        let fds: Vec<_> = std::iter::once(listener).chain(held.iter().copied()).collect();
        self.tell("speaking to the guest", &packet, &fds)?;
        match self.hear()? {
            (Report::Started, _) => Ok(()),
            (other, _) => Err(unexpected(other)),
        }
    }

    /// Gives up looking after it: what it left on the host is the caller's to take back, the descriptor of its first process
    /// among it.
    pub fn leave(mut self) -> Option<OwnedFd> {
        self.undos.forget();
        match self.process.take() {
            Some(Undo::Process(pidfd)) => Some(pidfd),
            _ => None,
        }
    }

    /// Receives the guest's next report.
    pub fn receive(&mut self) -> Result<(Report, Vec<OwnedFd>), LaunchError> {
        let mut got = pass::receive(&self.control, &mut self.buffer);
        if matches!(got, Err(Errno::CONNRESET)) {
            // A child that failed before it read what it was told resets the socket; what it said last still waits behind.
            got = pass::receive(&self.control, &mut self.buffer);
        }
        let (n, fds) = step("listening to the guest", got)?;
        if n == 0 {
            return Err(LaunchError::Vanished("its socket closed"));
        }
        let packet = self.buffer.get(..n.min(MAX_PACKET)).unwrap_or(&[]);
        let report = decode(packet).map_err(|_| LaunchError::Vanished("it sent a malformed report"))?;
        self.alone |= matches!(report, Report::Ended { .. });
        Ok((report, fds))
    }

    /// Whether the guest has said that every other process is gone: nothing changes in the layer any more, though the kernel
    /// still takes the guest and its namespaces down.
    pub fn is_alone(&self) -> bool {
        self.alone
    }

    /// Gives the guest an order. A guest that is gone has nothing left to obey.
    pub fn order(&self, order: Order) -> Result<(), Errno> {
        let packet = encode(&order).map_err(|_| Errno::MSGSIZE)?;
        match pass::send(&self.control, &packet, &[]) {
            Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
            other => other,
        }
    }

    /// Ends everything and takes back what is left on the host. Answers what could not be taken back.
    pub fn end(mut self) -> Vec<(String, Errno)> {
        self.take_back()
    }

    fn take_back(&mut self) -> Vec<(String, Errno)> {
        if let Some(process) = self.process.take() {
            self.undos.push(process);
        }
        self.undos.run()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.take_back();
    }
}

/// Whether there is something to hear within this time.
pub(crate) fn speaks(socket: impl AsFd, patience: Duration) -> Result<bool, Errno> {
    let begun = Instant::now();
    loop {
        let left = patience.saturating_sub(begun.elapsed());
        let left = Timespec::try_from(left).map_err(|_| Errno::INVAL)?;
        match poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&left)) {
            Err(Errno::INTR) => {}
            other => return other.map(|n| n > 0),
        }
    }
}

fn unexpected(report: Report) -> LaunchError {
    match report {
        Report::Failed { step, errno } => LaunchError::Inside {
            step,
            errno: Errno::from_raw_os_error(errno),
        },
        _ => LaunchError::Vanished("it spoke out of turn"),
    }
}
