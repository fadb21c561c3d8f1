//! Following a program: what comes out of it goes to whoever listens, what is said to it goes in.
use super::line::{Line, LineError};
use bytes::Bytes;
use qila_api::{Input, Output, Process, ProcessId, Status};
use qila_wire::Size;
use qila_wire::served::{Answer, Say, Source};
use tokio::sync::mpsc;

/// Pieces of input that wait for the program.
const QUEUE: usize = 4;
/// How long a program may take to take what somebody who went away has said to it.
const FAREWELL: std::time::Duration = std::time::Duration::from_secs(10);
const SIGKILL: i32 = 9;
/// Largest piece of input in one frame.
const PIECE: usize = 64 * 1024;

/// Follows the program on this channel, from this byte of its output on; none: from the first that comes.
///
/// One that says more than `limit` bytes is killed, with its group.
pub(crate) fn follow(line: Line, pid: u32, from: Option<u64>, limit: Option<u64>) -> Process {
    // One piece at a time: it is told to be taken once whoever listens has it, so that nothing is lost with this process.
    let (give, output) = mpsc::channel(1);
    let (input, take) = mpsc::channel(QUEUE);
    let relay = Relay {
        line,
        give,
        at: from,
        taken: None,
        limit: limit.unwrap_or(u64::MAX),
        rest: Bytes::new(),
        fed: true,
    };
    tokio::spawn(relay.run(take));
    Process {
        pid: ProcessId(pid),
        output,
        input,
    }
}

struct Relay {
    line: Line,
    give: mpsc::Sender<Output>,
    /// Next byte of output, where it is known.
    at: Option<u64>,
    /// What is to be told as taken once whoever listens has it.
    taken: Option<u64>,
    /// Most bytes that it may say.
    limit: u64,
    /// Input that was not sent yet.
    rest: Bytes,
    /// Whether the program has room for the next piece of it.
    fed: bool,
}

impl Relay {
    /// Until the program has ended and that was taken, or nobody listens any more.
    async fn run(mut self, mut take: mpsc::Receiver<Input>) {
        let mut deaf = false;
        let give = self.give.clone();
        loop {
            let step = tokio::select! {
                room = give.reserve(), if self.taken.is_some() => match room {
                    Ok(_) => self.acknowledge().await,
                    Err(_) => Err(LineError::Closed),
                },
                said = self.line.next(), if self.taken.is_none() => self.pass(said).await.map(|()| true),
                told = take.recv(), if !deaf && self.fed && self.rest.is_empty() => match told {
                    Some(input) => self.tell(input).await.map(|()| true),
                    None => {
                        deaf = true;
                        Ok(true)
                    }
                },
                () = give.closed() => Err(LineError::Closed),
            };
            match step {
                Ok(true) => {}
                Ok(false) => return,
                Err(_) => break,
            }
        }
        // Whoever listened went away. What it has said already is done first, if the program takes it.
        let _ = tokio::time::timeout(FAREWELL, self.last_words(&mut take)).await;
        let _ = self.line.say(&Say::Leave).await;
    }

    async fn last_words(&mut self, take: &mut mpsc::Receiver<Input>) -> Result<(), LineError> {
        loop {
            while !(self.fed && self.rest.is_empty()) {
                if let Answer::Fed = self.line.next().await? {
                    self.go_on().await?;
                }
            }
            match take.try_recv() {
                Ok(input) => self.tell(input).await?,
                Err(_) => return Ok(()),
            }
        }
    }

    /// Says something to the program; of input a piece, and the rest as it takes it.
    async fn tell(&mut self, input: Input) -> Result<(), LineError> {
        match input {
            Input::Bytes(bytes) if bytes.is_empty() => Ok(()),
            Input::Bytes(bytes) => {
                self.rest = bytes;
                self.go_on().await
            }
            other => self.line.say(&word(other)).await,
        }
    }

    /// The program has room: the next piece, if there is one.
    async fn go_on(&mut self) -> Result<(), LineError> {
        self.fed = self.rest.is_empty();
        if self.fed {
            return Ok(());
        }
        let piece = self.rest.split_to(self.rest.len().min(PIECE));
        self.line.say(&Say::Bytes(piece.to_vec())).await
    }

    /// False: it was the end.
    async fn acknowledge(&mut self) -> Result<bool, LineError> {
        let through = self.taken.take().unwrap_or(0);
        self.line.say(&Say::Taken(through)).await?;
        Ok(through != u64::MAX)
    }

    async fn pass(&mut self, said: Result<Answer, LineError>) -> Result<(), LineError> {
        let gone = |_| LineError::Closed;
        match said? {
            Answer::Output { source, at, bytes } => {
                let lost = self.at.map_or(0, |expected| at.saturating_sub(expected));
                if lost > 0 {
                    self.give.send(Output::Lost(lost)).await.map_err(gone)?;
                }
                let end = at.saturating_add(bytes.len() as u64);
                self.at = Some(end);
                if end > self.limit {
                    self.line.say(&Say::Signal(SIGKILL)).await?;
                }
                let bytes = Bytes::from(bytes);
                let piece = match source {
                    Source::Out => Output::Stdout(bytes),
                    Source::Err => Output::Stderr(bytes),
                    Source::Terminal => Output::Terminal(bytes),
                };
                self.give.send(piece).await.map_err(gone)?;
                self.taken = Some(end);
                Ok(())
            }
            Answer::Ended { code, signal } => {
                let ended = Output::Ended(Status { code, signal });
                self.give.send(ended).await.map_err(gone)?;
                self.taken = Some(u64::MAX);
                Ok(())
            }
            Answer::Fed => self.go_on().await,
            _ => Err(LineError::Confused("no output".into())),
        }
    }
}

/// What is said in one frame.
pub(crate) fn word(input: Input) -> Say {
    match input {
        Input::Bytes(bytes) => Say::Bytes(bytes.to_vec()),
        Input::End => Say::End,
        Input::Resize(size) => Say::Resize(Size {
            rows: size.rows,
            cols: size.cols,
        }),
        Input::Signal(number) => Say::Signal(number),
    }
}
