//! The launcher's side: from a plan to a running agent, and back to nothing.
use crate::backend::Stdio;
use crate::error::{LaunchError, step};
use crate::undo::{Undo, Undos};
use crate::{cgroup, child};
use qila_plan::{Namespace, Plan};
use qila_sys::fork::{Fork, Namespaces, exit_now, fork_into};
use qila_sys::pass;
use qila_wire::{MAX_PACKET, Order, Report, Size, Start, decode, encode};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, mkdir};
use rustix::io::Errno;
use rustix::process::Pid;

/// A sandbox from its first process on. Dropping it ends it and takes back everything that it left on the host.
#[derive(Debug)]
pub struct Sandbox {
    control: OwnedFd,
    pid: Pid,
    buffer: Vec<u8>,
    alone: bool,
    doors: Vec<OwnedFd>,
    process: Option<Undo>,
    undos: Undos,
}

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

impl Sandbox {
    /// Makes the cgroups and the first process, which starts to build its network and its view by itself.
    pub fn spawn(plan: &Plan, guest: BorrowedFd<'_>, stdio: Stdio) -> Result<Sandbox, LaunchError> {
        let mut undos = Undos::default();
        if let Some(empty) = &plan.view().empty {
            undos.push(Undo::Directory(empty.into()));
            step(
                format!("making {empty}"),
                mkdir(empty.as_str(), Mode::from_raw_mode(0o700)),
            )?;
        }
        let birthplace = match &plan.cgroup().born_in {
            None => None,
            Some(_) => {
                cgroup::make(plan.cgroup(), &mut undos)?;
                cgroup::birthplace(plan.cgroup())?
            }
        };
        let (ours, theirs) = step("making the control socket", pass::pair())?;
        let namespaces = plan
            .namespaces()
            .iter()
            .fold(Namespaces::NONE, |all, n| all.with(flag(*n)));
        let born_in = birthplace.as_ref().map(|fd| fd.as_fd());
        match step("making namespaces", fork_into(namespaces, born_in))? {
            Fork::Child => {
                drop(ours);
                child::become_guest(plan, theirs, guest, &stdio);
                exit_now(70)
            }
            Fork::Parent { pid, pidfd } => {
                // Whatever fails from here on, the process goes before the cgroups that it is to be in.
                let mut sandbox = Sandbox {
                    control: ours,
                    pid,
                    buffer: vec![0; 1024],
                    alone: false,
                    doors: Vec::new(),
                    process: Some(Undo::Process(pidfd)),
                    undos,
                };
                if plan.cgroup().born_in.is_none() {
                    // While the child makes its namespaces: it joins when it is let go on, before the agent's view exists.
                    cgroup::make(plan.cgroup(), &mut sandbox.undos)?;
                    sandbox.doors = cgroup::doors(plan.cgroup())?;
                }
                Ok(sandbox)
            }
        }
    }

    /// The first process's id, as the host counts.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// The socket to the guest, to wait on.
    pub fn control(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }

    /// Waits for the network to be locked and takes the gateway's listeners.
    pub fn listeners(&mut self) -> Result<Listening, LaunchError> {
        match self.receive()? {
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
        let packet = encode(&start).map_err(|_| LaunchError::Program(Errno::TOOBIG))?;
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

fn unexpected(report: Report) -> LaunchError {
    match report {
        Report::Failed { step, errno } => LaunchError::Inside {
            step,
            errno: Errno::from_raw_os_error(errno),
        },
        _ => LaunchError::Vanished("it spoke out of turn"),
    }
}
