//! The launcher's process.
use super::{BEAR, GATEWAY, GatewayWish};
use qila_plan::Walls;
use qila_sandbox::{Stdio, bear};
use qila_sys::pass;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::io::{Read, Seek};

/// Largest order in bytes.
const ORDER: usize = 192 * 1024;
/// Largest description of a gateway in bytes.
const WISH: u64 = 4 << 20;
const SIGCHLD: i32 = 17;
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;
const SIGHUP: i32 = 1;

/// What it answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reply {
    /// A first process: the socket to it and a descriptor of it come along.
    Born { pid: i32 },
    /// A gateway: likewise.
    Gateway,
    /// It could not be done.
    Failed { what: String },
}

/// Does what it is told until nobody is there to tell it.
pub(super) fn run(link: &OwnedFd, guest: &OwnedFd) -> i32 {
    match serve(link, guest) {
        Ok(()) => 0,
        Err(_) => 70,
    }
}

fn serve(link: &OwnedFd, guest: &OwnedFd) -> Result<(), Errno> {
    // The terminal's signals are for the node, which lets its sandboxes end or live on. Children that have ended need no one
    // to wait for them: whoever wants to know holds a descriptor.
    rustix::process::setsid()?;
    for signal in [SIGCHLD, SIGINT, SIGTERM, SIGHUP] {
        qila_sys::signal::ignore(signal);
    }
    let stdio = Stdio {
        input: null()?,
        output: null()?,
        error: null()?,
    };
    let mut buffer = vec![0u8; ORDER];
    loop {
        let (n, fds) = pass::receive(link, &mut buffer)?;
        let (reply, made) = match buffer.get(..n).and_then(<[u8]>::split_first) {
            None => return Ok(()),
            Some((&BEAR, walls)) => birth(walls, guest.as_fd(), &stdio, &fds),
            Some((&GATEWAY, _)) => gateway(fds),
            Some(_) => return Err(Errno::PROTO),
        }
        .unwrap_or_else(|what| (Reply::Failed { what }, Vec::new()));
        let text = serde_json::to_vec(&reply).map_err(|_| Errno::PROTO)?;
        let made: Vec<_> = made.iter().map(AsFd::as_fd).collect();
        pass::send(link, &text, &made)?;
    }
}

fn null() -> Result<OwnedFd, Errno> {
    open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
}

type Made = Result<(Reply, Vec<OwnedFd>), String>;

fn birth(walls: &[u8], guest: BorrowedFd<'_>, stdio: &Stdio, fds: &[OwnedFd]) -> Made {
    let walls: Walls = serde_json::from_slice(walls).map_err(|e| e.to_string())?;
    let birthplace = fds.first().map(AsFd::as_fd);
    let born = bear(&walls, guest, stdio, birthplace).map_err(|e| e.to_string())?;
    let pid = born.pid.as_raw_nonzero().get();
    Ok((Reply::Born { pid }, vec![born.control, born.pidfd]))
}

fn gateway(fds: Vec<OwnedFd>) -> Made {
    let mut text = Vec::new();
    let file = fds.into_iter().next().ok_or("no description came")?;
    let mut file = std::fs::File::from(file);
    let read = file.rewind().and_then(|()| file.take(WISH).read_to_end(&mut text));
    read.map_err(|e| e.to_string())?;
    let wish: GatewayWish = serde_json::from_slice(&text).map_err(|e| e.to_string())?;
    let gateway = wish.start().map_err(|e| e.to_string())?;
    let (link, pidfd) = gateway.give_away().map_err(|e| e.to_string())?;
    Ok((Reply::Gateway, vec![link, pidfd]))
}
