//! One program, from its start until nobody has to be told of its end any more.
use super::log::Log;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use qila_wire::served::{Exec, KEPT, PIECE, Source};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};

/// Most bytes of input that wait for a program to take them; whoever sends more waits.
const INPUT: usize = PIECE;

/// Most reads of one output of a program that goes on, before it is others' turn.
const READS: usize = 16;
/// Most that a program which has ended may have left in its terminal, where the kernel cannot tell, in bytes.
const LAST: u64 = 128 * 1024;

/// One of a program's outputs.
pub(super) struct Pipe {
    pub fd: OwnedFd,
    pub source: Source,
    /// Nothing more comes, or nothing more is waited for.
    pub dry: bool,
    /// Bytes that are still its program's, once that has ended: what comes behind them is of whoever else holds the other end.
    left: Option<u64>,
}

impl Pipe {
    pub(super) fn new(fd: OwnedFd, source: Source) -> Pipe {
        Pipe {
            fd,
            source,
            dry: false,
            left: None,
        }
    }

    /// Its program has ended.
    fn end(&mut self) {
        let last = || match self.source {
            Source::Terminal => LAST,
            Source::Out | Source::Err => rustix::io::ioctl_fionread(&self.fd).unwrap_or(LAST),
        };
        if self.left.is_none() {
            self.left = Some(last());
        }
    }
}

/// How a program ended.
#[derive(Clone, Copy)]
pub(super) struct Status {
    pub code: Option<i32>,
    pub signal: Option<i32>,
}

/// One program.
pub(super) struct Program {
    pub pid: Pid,
    pub exec: Exec,
    pub input: Option<OwnedFd>,
    waiting: VecDeque<u8>,
    no_more: bool,
    /// A terminal's one end is its input and its output.
    pub pipes: Vec<Pipe>,
    pub log: Log,
    pub status: Option<Status>,
    /// Somebody was listening and vanished without a word: it is kept from this byte on, until somebody comes.
    pub kept_from: Option<u64>,
    /// Somebody has taken the end.
    pub told: bool,
}

impl Program {
    pub(super) fn new(pid: Pid, exec: Exec, input: Option<OwnedFd>, pipes: Vec<Pipe>) -> Program {
        Program {
            pid,
            exec,
            input,
            waiting: VecDeque::new(),
            no_more: false,
            pipes,
            log: Log::default(),
            status: None,
            kept_from: None,
            told: false,
        }
    }

    /// Its process id, as it is spoken of.
    pub(super) fn number(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Whether more input can wait.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < INPUT
    }

    /// Whether input waits for it.
    pub(super) fn is_fed(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Takes input. What comes for one that has none any more is thrown away.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        if self.input.is_some() && !self.no_more {
            self.waiting.extend(bytes);
            self.write();
        }
    }

    /// No more input comes.
    pub(super) fn end_input(&mut self) {
        self.no_more = true;
        self.write();
    }

    /// Gives it what it takes.
    pub(super) fn write(&mut self) {
        let Some(input) = &self.input else { return };
        while !self.waiting.is_empty() {
            let (front, _) = self.waiting.as_slices();
            match rustix::io::write(input, front) {
                Ok(n) => drop(self.waiting.drain(..n)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => {
                    self.waiting.clear();
                    self.input = None;
                    return;
                }
            }
        }
        // A terminal's input ends with the terminal.
        if self.no_more && self.exec.terminal.is_none() {
            self.input = None;
        }
    }

    /// Reads what its outputs have, as far as there is room. `needed` is the first byte that somebody has not taken yet; with
    /// nobody there it never waits.
    pub(super) fn read(&mut self, needed: Option<u64>, buffer: &mut [u8]) {
        let ended = self.status.is_some();
        for pipe in self.pipes.iter_mut().filter(|p| !p.dry) {
            if ended {
                pipe.end();
            }
            let mut reads = 0;
            loop {
                if pipe.left == Some(0) {
                    pipe.dry = true;
                    break;
                }
                let from = needed.unwrap_or(self.log.end());
                let room = KEPT.saturating_sub(usize::try_from(self.log.end() - from).unwrap_or(KEPT));
                let left = pipe.left.and_then(|n| usize::try_from(n).ok());
                let most = room.min(buffer.len()).min(left.unwrap_or(usize::MAX));
                if most == 0 {
                    break;
                }
                reads += 1;
                match rustix::io::read(&pipe.fd, buffer.get_mut(..most).unwrap_or(&mut [])) {
                    Ok(0) | Err(Errno::IO) => pipe.dry = true,
                    Ok(n) => {
                        self.log.push(pipe.source, buffer.get(..n).unwrap_or(&[]), from);
                        pipe.left = pipe.left.map(|left| left.saturating_sub(n as u64));
                        // Others' turn, unless it is the last of one that has ended.
                        if ended || (n < most && reads < READS) {
                            continue;
                        }
                    }
                    Err(Errno::INTR) => continue,
                    // It has ended, and this is all: whoever else holds the other end speaks for itself.
                    Err(Errno::AGAIN) => pipe.dry = ended,
                    Err(_) => pipe.dry = true,
                }
                break;
            }
        }
    }

    /// Whether its end can be told: it has ended, and all that it said is in the log.
    pub(super) fn is_over(&self) -> bool {
        self.status.is_some() && self.pipes.iter().all(|p| p.dry)
    }

    /// Sends a signal to its group.
    pub(super) fn signal(&self, number: i32) -> Result<(), Errno> {
        let signal = Signal::from_named_raw(number).ok_or(Errno::INVAL)?;
        if self.status.is_some() {
            return Err(Errno::SRCH);
        }
        kill_process_group(self.pid, signal)
    }

    /// Sets the size of its terminal.
    pub(super) fn resize(&self, size: qila_wire::Size) -> Result<(), Errno> {
        match &self.input {
            Some(main) if self.exec.terminal.is_some() => {
                rustix::termios::tcsetwinsize(main, crate::serve::winsize(size))
            }
            _ => Err(Errno::NOTTY),
        }
    }
}
