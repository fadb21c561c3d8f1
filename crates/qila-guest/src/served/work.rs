//! Workers: a child for each thing that touches files, with the channel to itself. It may wait as long as it likes.
use super::channel::Channel;
use super::{files, look, watch};
use alloc::string::ToString;
use alloc::vec::Vec;
use qila_sys::fork::{Fork, Namespaces, exit_now, fork};
use qila_sys::{exec, pass};
use qila_wire::served::{Answer, Ask, MAX_FRAME, Say, frame, unframe};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::net::{
    AddressFamily, Ipv4Addr, Ipv6Addr, SendFlags, SocketAddrV4, SocketAddrV6, SocketFlags, SocketType,
    connect, send, socket_with, sockopt,
};
use rustix::process::Pid;

/// Seconds that a program may take to accept a connection.
const PATIENCE: u64 = 10;

/// What failed, and how.
pub(super) type Failed = (&'static str, Errno);

/// A channel as a worker has it: every call waits.
pub(super) struct Line {
    pub fd: OwnedFd,
    got: Vec<u8>,
}

impl Line {
    /// Says something.
    pub(super) fn say(&self, answer: &Answer) -> Result<(), Errno> {
        let bytes = frame(answer).map_err(|_| Errno::MSGSIZE)?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            match send(&self.fd, rest, SendFlags::NOSIGNAL) {
                Ok(n) => rest = rest.get(n..).unwrap_or(&[]),
                Err(Errno::INTR) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Says something, with a descriptor.
    pub(super) fn pass(&self, answer: &Answer, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        let bytes = frame(answer).map_err(|_| Errno::MSGSIZE)?;
        pass::send(&self.fd, &bytes, &[fd])
    }

    /// Hears the next thing. The end is an error: whoever asked is gone.
    pub(super) fn hear(&mut self) -> Result<Say, Errno> {
        loop {
            match unframe::<Say>(&self.got) {
                Ok(Some((say, length))) => {
                    self.got.drain(..length);
                    return Ok(say);
                }
                Ok(None) => {}
                Err(_) => return Err(Errno::PROTO),
            }
            let before = self.got.len();
            let more = MAX_FRAME + 4 - before;
            self.got.resize(before + more.min(64 * 1024), 0);
            let got = rustix::io::read(&self.fd, self.got.get_mut(before..).unwrap_or(&mut []));
            self.got.truncate(before + got.unwrap_or(0));
            match got {
                Ok(0) => return Err(Errno::PIPE),
                Ok(_) | Err(Errno::INTR) => {}
                Err(e) => return Err(e),
            }
        }
    }
}

/// Forks a worker and gives it the channel.
pub(super) fn hand_over(channel: &mut Channel, ask: Ask, home: &[u8]) -> Result<Pid, Errno> {
    match fork(Namespaces::NONE)? {
        Fork::Parent { pid, .. } => Ok(pid),
        Fork::Child => exit_now(i32::from(work(channel, ask, home).is_err())),
    }
}

fn work(channel: &mut Channel, ask: Ask, home: &[u8]) -> Result<(), Errno> {
    // With its parent gone, which is the sandbox's PID 1, nothing is left anyway; every other descriptor is not its own.
    let fd = rustix::io::fcntl_dupfd_cloexec(&channel.fd, 3)?;
    exec::close_all_but(fd.as_fd())?;
    qila_sys::signal::reset_all()?;
    ioctl_fionbio(&fd, false)?;
    let mut line = Line {
        fd,
        got: channel.rest(),
    };
    match perform(&mut line, ask, home) {
        Ok(()) => Ok(()),
        Err((what, e)) => line.say(&Answer::Failed {
            what: what.to_string(),
            errno: e.raw_os_error(),
        }),
    }
}

fn perform(line: &mut Line, ask: Ask, home: &[u8]) -> Result<(), Failed> {
    match ask {
        Ask::Stat(path) => said(line.say(&Answer::Entry(look::entry(&look::absolute(&path, home)?)?))),
        Ask::List { path, depth } => look::list(line, &look::absolute(&path, home)?, depth),
        Ask::Read { path, offset } => files::read(line, &look::absolute(&path, home)?, offset),
        Ask::Write { path, mode } => files::write(line, &look::absolute(&path, home)?, mode),
        Ask::MakeDir(path) => {
            let path = look::absolute(&path, home)?;
            files::make_dir(&path)?;
            said(line.say(&Answer::Entry(look::entry(&path)?)))
        }
        Ask::Rename { from, to } => {
            let (from, to) = (look::absolute(&from, home)?, look::absolute(&to, home)?);
            files::rename(&from, &to)?;
            said(line.say(&Answer::Entry(look::entry(&to)?)))
        }
        Ask::Remove(path) => {
            files::remove(&look::absolute(&path, home)?)?;
            said(line.say(&Answer::Done))
        }
        Ask::Watch { path, recursive } => watch::watch(line, &look::absolute(&path, home)?, recursive),
        Ask::Connect(port) => {
            let socket = dial(port).map_err(|e| ("connecting to the port", e))?;
            said(line.pass(&Answer::Done, socket.as_fd()))
        }
        _ => Err(("doing that", Errno::OPNOTSUPP)),
    }
}

/// Whoever asked is gone: there is nobody to tell.
pub(super) fn said(result: Result<(), Errno>) -> Result<(), Failed> {
    result.map_err(|e| ("answering", e))
}

/// Connects to a port of loopback, of either family.
fn dial(port: u16) -> Result<OwnedFd, Errno> {
    let make = |family| {
        let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        let patience = core::time::Duration::from_secs(PATIENCE);
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(patience))?;
        Ok::<_, Errno>(socket)
    };
    let first = make(AddressFamily::INET)?;
    match connect(&first, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)) {
        Ok(()) => return Ok(first),
        Err(Errno::CONNREFUSED) => {}
        Err(e) => return Err(e),
    }
    let second = make(AddressFamily::INET6)?;
    match connect(&second, &SocketAddrV6::new(Ipv6Addr::LOCALHOST, port, 0, 0)) {
        Ok(()) => Ok(second),
        Err(_) => Err(Errno::CONNREFUSED),
    }
}
