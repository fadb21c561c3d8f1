//! All programs, and who follows which.
use super::channel::{Channel, Follows};
use super::program::{Pipe, Program, Status};
use alloc::vec;
use alloc::vec::Vec;
use qila_wire::served::{Answer, PIECE, Program as Listed, Say};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::Pid;

/// Most ended programs whose end is kept for somebody who may come.
const ENDED: usize = 256;
/// Most outputs of ended programs that are still read, so that what these left behind can go on writing.
const DRAINS: usize = 64;

/// All programs.
#[derive(Default)]
pub(super) struct Table {
    programs: Vec<Program>,
    /// Outputs of programs that have ended, still held by what they left behind: read, and thrown away.
    drains: Vec<Pipe>,
}

/// The first byte that somebody has not taken yet; none if there is nobody.
fn needed(program: &Program, channels: &[Channel]) -> Option<u64> {
    let follows = |c: &Channel| {
        c.follows
            .as_ref()
            .filter(|f| f.pid == program.number() && !f.leaves && !c.closed)
            .map(|f| f.taken)
    };
    channels.iter().filter_map(follows).chain(program.kept_from).min()
}

impl Table {
    fn find(&mut self, pid: u32) -> Option<&mut Program> {
        self.programs.iter_mut().find(|p| p.number() == pid)
    }

    /// Whether there is such a program.
    pub(super) fn knows(&self, pid: Pid) -> bool {
        self.programs.iter().any(|p| p.pid == pid && p.status.is_none())
    }

    /// Adds a program, followed by the channel that asked for it.
    pub(super) fn add(&mut self, program: Program, channel: &mut Channel) {
        let pid = program.number();
        self.insert(program);
        follow(channel, pid, 0);
    }

    /// Adds a program that nobody follows.
    pub(super) fn insert(&mut self, program: Program) {
        let pid = program.number();
        // A number that is used again.
        self.programs.retain(|p| p.number() != pid);
        self.programs.push(program);
    }

    /// Comes back to a program.
    pub(super) fn attach(&mut self, channel: &mut Channel, pid: u32, from: Option<u64>) {
        match self.find(pid) {
            Some(program) => {
                let at = from.unwrap_or(program.log.end()).min(program.log.end());
                program.kept_from = None;
                follow(channel, pid, at);
            }
            None => channel.fail("finding the program", Errno::SRCH),
        }
    }

    /// Says one thing to a program, for somebody who does not follow it.
    pub(super) fn tell(&mut self, channel: &mut Channel, pid: u32, say: Say) {
        let Some(program) = self.find(pid) else {
            return channel.fail("finding the program", Errno::SRCH);
        };
        let result = match say {
            Say::Bytes(_) if program.input.is_none() => Err(Errno::PIPE),
            Say::Bytes(_) if !program.has_room() => Err(Errno::AGAIN),
            say => obey(program, say),
        };
        channel.done("telling the program", result);
    }

    /// Hears somebody who follows a program.
    pub(super) fn say(&mut self, channel: &mut Channel, pid: u32, say: Say) {
        let Some(follows) = &mut channel.follows else {
            return;
        };
        let program = self.programs.iter_mut().find(|p| p.number() == pid);
        match say {
            Say::Leave => {
                follows.leaves = true;
                channel.closed = true;
            }
            Say::Taken(u64::MAX) => {
                if let Some(program) = program {
                    program.told |= follows.ended;
                }
                follows.taken = follows.at;
            }
            Say::Taken(through) => follows.taken = follows.taken.max(through.min(follows.at)),
            Say::Bytes(_) if follows.owed => channel.closed = true, // it does not keep to what was agreed
            say => {
                follows.owed |= matches!(say, Say::Bytes(_));
                if let Some(program) = program {
                    // A signal to one that has just ended, or a size for what is no terminal, changes nothing.
                    let _ = obey(program, say);
                }
            }
        }
    }

    /// What to wait for.
    pub(super) fn interests<'a>(&'a self, channels: &[Channel], fds: &mut Vec<PollFd<'a>>) {
        for program in &self.programs {
            if let Some(input) = program.input.as_ref().filter(|_| program.is_fed()) {
                fds.push(PollFd::new(input, PollFlags::OUT));
            }
            let from = needed(program, channels).unwrap_or(program.log.end());
            if program.log.end() - from < qila_wire::served::KEPT as u64 {
                let wet = program.pipes.iter().filter(|p| !p.dry);
                fds.extend(wet.map(|p| PollFd::new(&p.fd, PollFlags::IN)));
            }
        }
        fds.extend(self.drains.iter().map(|p| PollFd::new(&p.fd, PollFlags::IN)));
    }

    /// Reads what programs say, and gives them what they take.
    pub(super) fn read(&mut self, channels: &[Channel]) {
        let mut buffer = vec![0u8; 16 * 1024];
        for program in &mut self.programs {
            program.write();
            let needed = needed(program, channels);
            program.read(needed, &mut buffer);
            if program.is_over() {
                for pipe in program
                    .pipes
                    .drain(..)
                    .filter(|_| program.exec.terminal.is_none())
                {
                    if self.drains.len() < DRAINS {
                        self.drains.push(pipe);
                    }
                }
                program.input = None;
            }
        }
        self.drains.retain(|pipe| {
            !matches!(
                rustix::io::read(&pipe.fd, &mut buffer[..]),
                Ok(0) | Err(Errno::IO)
            )
        });
        // Of one that somebody has been told of, nobody need be told again. Of the others the newest are kept.
        let awaited = |p: &Program| {
            let waits = |c: &Channel| {
                c.follows
                    .as_ref()
                    .is_some_and(|f| f.pid == p.number() && !f.ended && !c.closed)
            };
            channels.iter().any(waits)
        };
        self.programs.retain(|p| !p.told || awaited(p));
        let over = self.programs.iter().filter(|p| p.is_over()).count();
        if let Some(oldest) = (over > ENDED)
            .then(|| self.programs.iter().position(Program::is_over))
            .flatten()
        {
            self.programs.remove(oldest);
        }
    }

    /// Gives a channel what its program has said, as far as the channel takes it.
    pub(super) fn give(&mut self, channel: &mut Channel) {
        if let Some(follows) = channel.follows.as_mut().filter(|f| f.owed) {
            let full = self
                .programs
                .iter()
                .any(|p| p.number() == follows.pid && !p.has_room());
            if !full {
                follows.owed = false;
                channel.say(&Answer::Fed);
            }
        }
        while !channel.has_more() && !channel.closed {
            let Some(follows) = &mut channel.follows else {
                return;
            };
            let Some(program) = self.programs.iter().find(|p| p.number() == follows.pid) else {
                channel.closed |= !follows.ended;
                return;
            };
            if follows.ended {
                return;
            }
            // No more than it has acknowledged, so that nothing is lost with whoever reads it.
            let room = qila_wire::served::KEPT as u64
                - (follows.at - follows.taken).min(qila_wire::served::KEPT as u64);
            let most = usize::try_from(room).unwrap_or(0).min(PIECE);
            match program.log.piece(follows.at, most).filter(|_| most > 0) {
                Some((source, at, bytes)) => {
                    let answer = Answer::Output {
                        source,
                        at,
                        bytes: bytes.to_vec(),
                    };
                    follows.at = at + bytes.len() as u64;
                    channel.say(&answer);
                }
                None => match program
                    .status
                    .filter(|_| program.is_over() && follows.at >= program.log.end())
                {
                    Some(Status { code, signal }) => {
                        follows.ended = true;
                        channel.say(&Answer::Ended { code, signal });
                    }
                    None => return,
                },
            }
        }
    }

    /// A channel is gone. If it was still following without a word of leaving, what it has not taken is kept.
    pub(super) fn left(&mut self, channel: &Channel) {
        if let Some(follows) = channel.follows.as_ref().filter(|f| !f.leaves)
            && let Some(program) = self.find(follows.pid)
        {
            let from = program.kept_from.unwrap_or(follows.taken);
            program.kept_from = Some(from.min(follows.taken));
        }
    }

    /// A process was reaped.
    pub(super) fn ended(&mut self, pid: Pid, code: Option<i32>, signal: Option<i32>) {
        if let Some(program) = self.programs.iter_mut().find(|p| p.pid == pid) {
            program.status = Some(Status { code, signal });
        }
    }

    /// Nobody need be told of any end.
    pub(super) fn clear(&mut self) {
        self.programs.iter_mut().for_each(|p| p.kept_from = None);
        self.drains.clear();
    }

    pub(super) fn list(&self) -> Vec<Listed> {
        let listed = |p: &Program| Listed {
            pid: p.number(),
            tag: p.exec.tag.clone(),
            argv: p.exec.argv.clone(),
            cwd: p.exec.cwd.clone(),
            terminal: p.exec.terminal.is_some(),
            ended: p.status.is_some(),
        };
        self.programs.iter().map(listed).collect()
    }
}

fn follow(channel: &mut Channel, pid: u32, at: u64) {
    channel.follows = Some(Follows {
        pid,
        at,
        taken: at,
        ended: false,
        leaves: false,
        owed: false,
    });
    channel.say(&Answer::Started { pid });
}

fn obey(program: &mut Program, say: Say) -> Result<(), Errno> {
    match say {
        Say::Bytes(bytes) => program.feed(&bytes),
        Say::End => program.end_input(),
        Say::Resize(size) => return program.resize(size),
        Say::Signal(number) => return program.signal(number),
        Say::Leave => program.kept_from = None,
        Say::Taken(_) => {}
    }
    Ok(())
}
