//! Zygotes: a warm program in a sandbox of its own, copies of which are put into sandboxes that were made beneath it.
//!
//! The sandbox is the node's to make, pause and end as any other, with the cage for its guest that `qila_sandbox::zygote::warm` makes. This starts the program in it,
//! starts it anew when it is gone, and asks it for forks. See `docs/zygotes.md`.
mod fault;
mod link;

pub(crate) use fault::ZygoteError;

use crate::guest::{self, Line};
use link::Link;
use qila_plan::Walls;
use qila_sandbox::zygote::Request;
use qila_wire::served::{Answer, Ask, Cage, Exec};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// How long a program may take to become warm.
const WARM: Duration = Duration::from_secs(60);
/// How long a fork may take: longer than a zygote gives it.
const FORK: Duration = Duration::from_secs(15);
/// A program that could not be started is not tried again for so long.
const REST: Duration = Duration::from_secs(5);

/// A warm program.
#[derive(Debug)]
pub(crate) struct Zygote {
    /// Directory of its sandbox on the host.
    dir: OwnedFd,
    /// First process of its sandbox.
    first: OwnedFd,
    program: Exec,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Warm(Link),
    /// Since when, and what was said.
    Failed(Instant, String),
}

/// A sandbox that is to receive a fork, as its guest was told of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// Its directory on the host.
    pub dir: &'a OwnedFd,
    /// Its first process.
    pub first: BorrowedFd<'a>,
    pub walls: &'a Walls,
    /// As `qila_sandbox::zygote::one_wall` made it.
    pub cage: &'a Cage,
}

impl Zygote {
    /// Starts a program that speaks the protocol in its sandbox, whose directory and first process these are, and waits until it is
    /// warm.
    pub(crate) async fn start(dir: OwnedFd, first: OwnedFd, program: Exec) -> Result<Zygote, ZygoteError> {
        let link = link::warm(&dir, &program, WARM).await?;
        Ok(Zygote {
            dir,
            first,
            program,
            state: Mutex::new(State::Warm(link)),
        })
    }

    /// The process beneath whose sandbox others are to be made.
    pub(crate) fn above(&self) -> BorrowedFd<'_> {
        self.first.as_fd()
    }

    /// Whether its program is there. One that is not is started anew when a fork is asked for; a sandbox that is not ends
    /// everything beneath it.
    pub(crate) async fn is_alive(&self) -> bool {
        matches!(&*self.state.lock().await, State::Warm(link) if link.is_there())
    }

    /// Puts a fork into a sandbox, as a program of it: the channel, on which its output comes, and its number.
    pub(crate) async fn fork_into(&self, place: &Place<'_>, exec: &Exec) -> Result<(Line, u32), ZygoteError> {
        match self.attempt(place, exec).await {
            // It went while it was at it: no fork of it is left, and another can do it.
            Err(_) if !self.is_alive().await => self.attempt(place, exec).await,
            other => other,
        }
    }

    async fn attempt(&self, place: &Place<'_>, exec: &Exec) -> Result<(Line, u32), ZygoteError> {
        let request = Request::new(place.walls, place.cage, exec)?;
        let doors = qila_sandbox::doors(place.walls.cgroup())?;
        let packet = request.packet()?;
        // It may take longer than a fork.
        self.warm_up().await?;
        let made = async {
            let (mut line, _) = guest::request(place.dir, &Ask::Adopt(exec.clone())).await?;
            let theirs = std::mem::take(&mut line.fds);
            if theirs.len() != 4 {
                return Err(ZygoteError::Guest("it did not hand out what a fork needs".into()));
            }
            let fds = theirs.iter().chain(&doors).map(AsFd::as_fd);
            let fds: Vec<_> = std::iter::once(place.first).chain(fds).collect();
            self.tell(&packet, &fds).await?;
            // The guest hears that nobody comes when nobody has them any more.
            drop(theirs);
            match line.hear().await? {
                Answer::Started { pid } => Ok((line, pid)),
                _ => Err(ZygoteError::Guest(
                    "it did not say that the program started".into(),
                )),
            }
        };
        tokio::time::timeout(FORK, made)
            .await
            .map_err(|_| ZygoteError::Late(FORK))?
    }

    /// Starts the program anew if it is gone.
    async fn warm_up(&self) -> Result<(), ZygoteError> {
        let mut state = self.state.lock().await;
        match &*state {
            State::Warm(link) if link.is_there() => Ok(()),
            State::Failed(since, why) if since.elapsed() < REST => Err(ZygoteError::Cold(why.clone())),
            _ => match link::warm(&self.dir, &self.program, WARM).await {
                Ok(link) => {
                    *state = State::Warm(link);
                    Ok(())
                }
                Err(e) => {
                    *state = State::Failed(Instant::now(), e.to_string());
                    Err(e)
                }
            },
        }
    }

    /// Tells the program.
    async fn tell(&self, packet: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), ZygoteError> {
        match &*self.state.lock().await {
            State::Warm(link) => link.ask(packet, fds).await,
            State::Failed(..) => Err(ZygoteError::Gone),
        }
    }
}
