//! The launcher's process.
use super::{BEAR, BENEATH, GATEWAY, GatewayWish, RESTACK};
use qila_plan::Walls;
use qila_sandbox::zygote::bear_beneath;
use qila_sandbox::{Born, Restack, Stdio, bear, restack};
use qila_sys::fork::{Fork, Namespaces, exit_now, fork};
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
    /// A sandbox has another layer.
    Done,
    /// It has not: something in it uses the one that it has.
    InUse,
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
            Some((&BENEATH, walls)) => beneath(walls, guest.as_fd(), &stdio, &fds),
            Some((&GATEWAY, _)) => gateway(fds),
            Some((&RESTACK, wish)) => layer(wish, &fds),
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
    Ok(told(born))
}

fn told(born: Born) -> (Reply, Vec<OwnedFd>) {
    let pid = born.pid.as_raw_nonzero().get();
    (Reply::Born { pid }, vec![born.control, born.pidfd])
}

fn beneath(walls: &[u8], guest: BorrowedFd<'_>, stdio: &Stdio, fds: &[OwnedFd]) -> Made {
    let walls: Walls = serde_json::from_slice(walls).map_err(|e| e.to_string())?;
    let above = fds.first().ok_or("no sandbox came to be beneath")?;
    let birthplace = fds.get(1).map(AsFd::as_fd);
    let born = bear_beneath(&walls, guest, stdio, birthplace, above.as_fd());
    born.map(told).map_err(|e| e.to_string())
}

fn gateway(fds: Vec<OwnedFd>) -> Made {
    let mut text = Vec::new();
    let file = fds.into_iter().next().ok_or("no description came")?;
    let mut file = std::fs::File::from(file);
    let read = file
        .rewind()
        .and_then(|()| file.take(WISH).read_to_end(&mut text));
    read.map_err(|e| e.to_string())?;
    let wish: GatewayWish = serde_json::from_slice(&text).map_err(|e| e.to_string())?;
    let gateway = wish.start().map_err(|e| e.to_string())?;
    let (link, pidfd) = gateway.give_away().map_err(|e| e.to_string())?;
    Ok((Reply::Gateway, vec![link, pidfd]))
}

/// By a process of its own, which enters the sandbox's namespaces, and goes on if everybody else is killed. What came along with the
/// sandbox's first process is open in it until then.
fn layer(wish: &[u8], fds: &[OwnedFd]) -> Made {
    let wish: Restack = serde_json::from_slice(wish).map_err(|e| e.to_string())?;
    let first = fds.first().ok_or("no process came")?;
    let (ours, theirs) = pass::pair().map_err(|e| e.to_string())?;
    match fork(Namespaces::NONE).map_err(|e| e.to_string())? {
        Fork::Child => {
            let reply = match restack(first.as_fd(), &wish) {
                Ok(()) => Reply::Done,
                Err((_, Errno::BUSY)) => Reply::InUse,
                Err((step, errno)) => Reply::Failed {
                    what: format!("{step}: {errno}"),
                },
            };
            let sent = serde_json::to_vec(&reply).is_ok_and(|text| pass::send(&theirs, &text, &[]).is_ok());
            exit_now(i32::from(!sent))
        }
        Fork::Parent { .. } => {
            drop(theirs);
            let mut buffer = [0u8; 1024];
            let (n, _) = pass::receive(&ours, &mut buffer).map_err(|e| e.to_string())?;
            let reply = serde_json::from_slice(buffer.get(..n).unwrap_or(&[]));
            Ok((reply.map_err(|_| "it vanished at work".to_owned())?, Vec::new()))
        }
    }
}
