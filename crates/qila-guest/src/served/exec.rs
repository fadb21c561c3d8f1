//! Starting a program of a sandbox that serves.
use super::program::{Pipe, Program};
use crate::agent::{self, Around};
use alloc::vec;
use qila_wire::served::{Cage, Exec, Source};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::pipe::{PipeFlags, pipe_with};

pub(super) fn null() -> Result<OwnedFd, Errno> {
    open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
}

/// Our end does not make us wait.
pub(super) fn ours(fd: &OwnedFd) -> Result<(), Errno> {
    ioctl_fionbio(fd, true)
}

/// Starts it.
pub(super) fn start(cage: &Cage, exec: Exec) -> Result<Program, Errno> {
    let around = Around {
        argv: &exec.argv,
        env: &exec.env,
        cwd: &exec.cwd,
        limits: &cage.limits,
        cpus: &cage.cpus,
        landlock: None,
        filter: &cage.filter,
        engine: false,
        bare: false,
    };
    if let Some(size) = exec.terminal {
        let (main, theirs) = crate::serve::terminal(size)?;
        ours(&main)?;
        let copy = rustix::io::fcntl_dupfd_cloexec(&main, 3)?;
        let pid = agent::start(&around, Some(&theirs), None)?.pid;
        let pipe = Pipe::new(copy, Source::Terminal);
        return Ok(Program::new(pid, exec, Some(main), vec![pipe]));
    }
    let (input, feed) = match exec.input {
        true => pipe_with(PipeFlags::CLOEXEC).map(|(theirs, ours)| (theirs, Some(ours)))?,
        false => (null()?, None),
    };
    let (out, output) = pipe_with(PipeFlags::CLOEXEC)?;
    let (err, error) = pipe_with(PipeFlags::CLOEXEC)?;
    for fd in feed.iter().chain([&out, &err]) {
        ours(fd)?;
    }
    let streams = [input.as_fd(), output.as_fd(), error.as_fd()];
    let pid = agent::start(&around, None, Some(streams))?.pid;
    let pipes = vec![Pipe::new(out, Source::Out), Pipe::new(err, Source::Err)];
    Ok(Program::new(pid, exec, feed, pipes))
}
