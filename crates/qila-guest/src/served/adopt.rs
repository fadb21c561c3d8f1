//! Programs that the guest does not start itself: a zygote of its own sandbox, and forks of a zygote above that come to be its.
//!
//! A fork says through a door that it is there and under its walls; the guest looks whether that is so as far as the kernel tells,
//! and lets it go on. From then on it is a program as any other: the guest's child, heard, fed, signalled and reaped by it.
use super::beneath;
use super::channel::Channel;
use super::exec::{null, ours};
use super::program::{Pipe, Program};
use super::table::Table;
use crate::agent::{self, Around};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use qila_sys::pass;
use qila_wire::served::{Answer, Cage, Exec, Source, frame};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, kill_process};

/// Largest thing that a fork says.
const WORD: usize = 256;
/// What it says: that it is there, with its number; that it failed, with the error's number and the step.
const READY: u8 = b'r';
const FAILED: u8 = b'f';
/// What it is told: to go on.
const GO: &[u8] = b"g";

/// A program that is expected.
pub(super) struct Adoption {
    /// Where it will speak; closed, it does not go on.
    pub door: OwnedFd,
    exec: Exec,
    input: Option<OwnedFd>,
    pipes: Vec<Pipe>,
}

/// Streams of a program: its ends, and the guest's.
struct Streams {
    theirs: [OwnedFd; 3],
    input: Option<OwnedFd>,
    pipes: Vec<Pipe>,
}

fn streams(input: bool) -> Result<Streams, Errno> {
    let (standard, feed) = match input {
        true => pipe_with(PipeFlags::CLOEXEC).map(|(theirs, ours)| (theirs, Some(ours)))?,
        false => (null()?, None),
    };
    let (out, output) = pipe_with(PipeFlags::CLOEXEC)?;
    let (err, error) = pipe_with(PipeFlags::CLOEXEC)?;
    for fd in feed.iter().chain([&out, &err]) {
        ours(fd)?;
    }
    Ok(Streams {
        theirs: [standard, output, error],
        input: feed,
        pipes: vec![Pipe::new(out, Source::Out), Pipe::new(err, Source::Err)],
    })
}

/// Says something with descriptors on a channel that goes on.
fn hand_out(channel: &mut Channel, answer: &Answer, fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let bytes = frame(answer).map_err(|_| Errno::MSGSIZE)?;
    pass::send(&channel.fd, &bytes, fds)
}

/// Starts a program whose standard input is a socket, of which whoever asks has the other end. Nobody follows it yet.
pub(super) fn start_zygote(cage: &Cage, exec: Exec, programs: &mut Table, channel: &mut Channel) {
    match zygote(cage, exec) {
        Ok((program, link)) => {
            let started = Answer::Started {
                pid: program.number(),
            };
            programs.insert(program);
            channel.pass(&started, &[link.as_fd()]);
        }
        Err(e) => channel.fail("starting the zygote", e),
    }
}

fn zygote(cage: &Cage, exec: Exec) -> Result<(Program, OwnedFd), Errno> {
    if exec.terminal.is_some() {
        return Err(Errno::OPNOTSUPP);
    }
    let (link, theirs) = pass::pair()?;
    let streams = streams(false)?;
    let [_, output, error] = &streams.theirs;
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
    let standard = [theirs.as_fd(), output.as_fd(), error.as_fd()];
    let pid = agent::start(&around, None, Some(standard))?.pid;
    Ok((Program::new(pid, exec, None, streams.pipes), link))
}

/// Makes what a fork needs and hands it to whoever asks, who gives it to the zygote.
pub(super) fn expect(exec: Exec, channel: &mut Channel) {
    if let Err(e) = prepare(exec, channel) {
        channel.fail("expecting a fork", e);
    }
}

fn prepare(exec: Exec, channel: &mut Channel) -> Result<(), Errno> {
    if exec.terminal.is_some() {
        return Err(Errno::OPNOTSUPP);
    }
    let (door, theirs) = pass::pair()?;
    ours(&door)?;
    let streams = streams(exec.input)?;
    let [input, output, error] = &streams.theirs;
    let fds = [input.as_fd(), output.as_fd(), error.as_fd(), theirs.as_fd()];
    hand_out(channel, &Answer::Done, &fds)?;
    channel.adopts = Some(Adoption {
        door,
        exec,
        input: streams.input,
        pipes: streams.pipes,
    });
    Ok(())
}

/// Hears whether the fork that a channel waits for is there.
pub(super) fn hear(channel: &mut Channel, programs: &mut Table) {
    let Some(adoption) = &channel.adopts else {
        return;
    };
    let mut word = [0u8; WORD];
    let said = match pass::receive(&adoption.door, &mut word) {
        Err(Errno::AGAIN) => return,
        Ok((n, _)) => word.get(..n).and_then(<[u8]>::split_first),
        Err(_) => None,
    };
    let number = |rest: &[u8]| rest.first_chunk::<4>().map(|n| i32::from_le_bytes(*n));
    let result = match said {
        Some((&READY, rest)) => number(rest).ok_or(Errno::PROTO).and_then(|n| admit(n, programs)),
        Some((&FAILED, rest)) => {
            let what = String::from_utf8_lossy(rest.get(4..).unwrap_or(&[])).into_owned();
            let errno = Errno::from_raw_os_error(number(rest).unwrap_or(71));
            channel.adopts = None;
            return channel.fail(&what, errno);
        }
        // It has ended before it was there.
        _ => Err(Errno::PIPE),
    };
    let Some(adoption) = channel.adopts.take() else {
        return;
    };
    match result {
        Ok(pid) => {
            let program = Program::new(pid, adoption.exec, adoption.input, adoption.pipes);
            programs.add(program, channel);
            // Should it have ended meanwhile, its end is heard of as any other's.
            let _ = pass::send(&adoption.door, GO, &[]);
        }
        Err(e) => channel.fail("adopting a fork", e),
    }
}

/// A process is adopted if it is the guest's own child, not known already, and under the walls that the kernel tells of. One that
/// is not is ended.
fn admit(number: i32, programs: &mut Table) -> Result<Pid, Errno> {
    // One is the guest itself; what is below names groups.
    let pid = (number > 1)
        .then(|| Pid::from_raw(number))
        .flatten()
        .ok_or(Errno::PROTO)?;
    if programs.knows(pid) {
        return Err(Errno::EXIST);
    }
    let status = beneath::status(number)?;
    if !has(&status, b"PPid:", b"1") {
        return Err(Errno::CHILD);
    }
    // The zygote has a filter over what the guest has, and the fork one over that.
    let filters = |status: &[u8]| number_in(status, b"Seccomp_filters:");
    if caged(&status) && filters(&status) >= filters(&beneath::status(1)?).saturating_add(2) {
        return Ok(pid);
    }
    let _ = kill_process(pid, Signal::KILL); // nothing but its end is wanted of it
    Err(Errno::PERM)
}

fn field<'a>(status: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let line = status.split(|b| *b == b'\n').find_map(|l| l.strip_prefix(name))?;
    Some(line.trim_ascii())
}

/// A number; what is not there counts as none.
fn number_in(status: &[u8], name: &[u8]) -> u32 {
    let text = field(status, name).and_then(|v| core::str::from_utf8(v).ok());
    text.and_then(|t| t.parse().ok()).unwrap_or(0)
}

fn has(status: &[u8], name: &[u8], value: &[u8]) -> bool {
    field(status, name) == Some(value)
}

/// No capability, none that could be had by exec, no new privilege, and a filter.
fn caged(status: &[u8]) -> bool {
    let none =
        |name: &&[u8]| field(status, name).is_some_and(|v| !v.is_empty() && v.iter().all(|b| *b == b'0'));
    let sets: [&[u8]; 5] = [b"CapInh:", b"CapPrm:", b"CapEff:", b"CapBnd:", b"CapAmb:"];
    sets.iter().all(none) && has(status, b"NoNewPrivs:", b"1") && has(status, b"Seccomp:", b"2")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAGED: &str = "Name:\tx\nPPid:\t1\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t2\n";

    #[test]
    fn one_that_lacks_a_wall_is_not_caged() {
        assert!(caged(CAGED.as_bytes()));
        for (wall, gap) in [
            ("CapInh:\t0000000000000000", "CapInh:\t0000000000000001"),
            ("CapPrm:\t0000000000000000", "CapPrm:\t000001ffffffffff"),
            ("CapEff:\t0000000000000000", "CapEff:\t0000000000200000"),
            ("CapBnd:\t0000000000000000", "CapBnd:\t000001ffffffffff"),
            ("CapAmb:\t0000000000000000", "CapAmb:\t8000000000000000"),
            ("CapAmb:\t0000000000000000\n", ""),
            ("NoNewPrivs:\t1", "NoNewPrivs:\t0"),
            ("Seccomp:\t2", "Seccomp:\t0"),
            ("Seccomp:\t2\n", ""),
        ] {
            let status = CAGED.replace(wall, gap);
            assert_ne!(status, CAGED);
            assert!(!caged(status.as_bytes()), "{gap}");
        }
    }

    #[test]
    fn a_name_that_holds_lines_is_one_line() {
        assert!(has(CAGED.as_bytes(), b"PPid:", b"1"));
        assert_eq!(number_in(CAGED.as_bytes(), b"Seccomp_filters:"), 2);
        assert_eq!(number_in(b"Seccomp_filters:\tmany\n", b"Seccomp_filters:"), 0);
        assert!(!has(b"Name:\tPPid:\t1\nPPid:\t7\n", b"PPid:", b"1"));
    }
}
