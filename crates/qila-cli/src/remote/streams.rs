//! The caller's own standard streams. Each is waited for by a thread, so that nothing else waits for it.
use crate::fail::Fail;
use bytes::Bytes;
use std::io::{Read, Write};
use tokio::sync::{mpsc, oneshot};

/// Pieces that wait on each way.
const QUEUE: usize = 8;
/// Exit code when nobody reads the output any more: as if SIGPIPE had ended it.
const UNREAD: u8 = 141;

/// Standard input, until its end.
pub(crate) fn input() -> mpsc::Receiver<Bytes> {
    let (give, take) = mpsc::channel(QUEUE);
    // A terminal cannot be waited for in any other way that leaves it as it was.
    std::thread::spawn(move || {
        let mut buffer = vec![0u8; 32 * 1024];
        loop {
            let n = match std::io::stdin().read(&mut buffer) {
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Ok(n @ 1..) => n,
                _ => return,
            };
            let piece = Bytes::copy_from_slice(buffer.get(..n).unwrap_or(&[]));
            if give.blocking_send(piece).is_err() {
                return;
            }
        }
    });
    take
}

/// Standard output and standard error.
pub(crate) struct Output {
    give: mpsc::Sender<(bool, Bytes)>,
    done: oneshot::Receiver<std::io::Result<()>>,
}

impl Output {
    /// Begins to write.
    pub(crate) fn begin() -> Output {
        let (give, mut take) = mpsc::channel::<(bool, Bytes)>(QUEUE);
        let (tell, done) = oneshot::channel();
        std::thread::spawn(move || {
            let mut write = || {
                while let Some((error, bytes)) = take.blocking_recv() {
                    if error {
                        std::io::stderr().write_all(&bytes)?;
                    } else {
                        let mut out = std::io::stdout();
                        out.write_all(&bytes).and_then(|()| out.flush())?;
                    }
                }
                Ok(())
            };
            let _ = tell.send(write()); // nobody waits for it any more if this fails
        });
        Output { give, done }
    }

    /// Writes, `error`: to standard error. An error: nobody reads it any more, which [`Output::end`] says.
    pub(crate) async fn write(&self, error: bool, bytes: Bytes) -> Result<(), ()> {
        self.give.send((error, bytes)).await.map_err(drop)
    }

    /// Waits until everything is written.
    pub(crate) async fn end(self) -> Result<(), Fail> {
        drop(self.give);
        match self.done.await {
            Ok(Err(e)) => Err(Fail::new(format!("nobody reads the output: {e}")).code(UNREAD)),
            Ok(Ok(())) => Ok(()),
            Err(_) => Err(Fail::new("the output could not be written")),
        }
    }
}
