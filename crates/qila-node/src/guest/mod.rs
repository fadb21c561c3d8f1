//! Speaking to a guest: a channel for each thing that is asked.
mod line;
mod program;

pub(crate) use line::{Line, LineError};
pub(crate) use program::{follow, word};
use qila_wire::served::{Answer, Ask};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{AtFlags, unlinkat};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};

/// Name of the guest's socket in the sandbox's directory.
const NAME: &str = "guest";
/// Connections that the kernel keeps until the guest takes them.
const BACKLOG: i32 = 512;

/// By the directory's descriptor: a path of any depth fits, and leads nowhere else.
fn address(dir: &OwnedFd) -> Result<SocketAddrUnix, Errno> {
    SocketAddrUnix::new(format!("/proc/self/fd/{}/{NAME}", dir.as_raw_fd()))
}

fn socket(flags: SocketFlags) -> Result<OwnedFd, Errno> {
    socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        flags | SocketFlags::CLOEXEC,
        None,
    )
}

/// Makes the socket on which the guest of a sandbox accepts.
pub(crate) fn listener(dir: &OwnedFd) -> Result<OwnedFd, Errno> {
    let socket = socket(SocketFlags::NONBLOCK)?;
    match unlinkat(dir, NAME, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(e) => return Err(e),
    }
    bind(&socket, &address(dir)?)?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// Opens a channel and asks.
pub(crate) async fn ask(dir: &OwnedFd, ask: &Ask) -> Result<Line, LineError> {
    let socket = socket(SocketFlags::NONBLOCK)?;
    let address = address(dir)?;
    let mut wait = std::time::Duration::from_millis(1);
    // A full queue of connections is no reason to give up: the guest empties it in no time.
    while let Err(e) = connect(&socket, &address) {
        if e != Errno::AGAIN || wait > std::time::Duration::from_secs(2) {
            return Err(e.into());
        }
        tokio::time::sleep(wait).await;
        wait *= 2;
    }
    let line = Line::new(socket)?;
    line.say(ask).await?;
    Ok(line)
}

/// Opens a channel, asks, and hears the first answer. A refusal is an error.
pub(crate) async fn request(dir: &OwnedFd, what: &Ask) -> Result<(Line, Answer), LineError> {
    let mut line = ask(dir, what).await?;
    let answer = line.hear().await?;
    Ok((line, answer))
}
