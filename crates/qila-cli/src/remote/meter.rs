//! How far a copy is, told to whoever looks at a terminal.
use std::io::Write;
use std::time::{Duration, Instant};

/// How long a copy takes before anything is said of it, and how often then.
const FIRST: Duration = Duration::from_millis(700);
const NEXT: Duration = Duration::from_millis(200);

/// What was copied so far.
#[derive(Debug)]
pub(crate) struct Meter {
    files: u64,
    bytes: u64,
    said: bool,
    again: Option<Instant>,
}

impl Meter {
    /// Of a copy that begins now. It is silent where standard error is no terminal.
    pub(crate) fn begin() -> Meter {
        let terminal = rustix::termios::isatty(rustix::stdio::stderr());
        Meter {
            files: 0,
            bytes: 0,
            said: false,
            again: terminal.then(|| Instant::now() + FIRST),
        }
    }

    /// So many bytes more.
    pub(crate) fn bytes(&mut self, n: usize) {
        self.bytes += n as u64;
        self.tell();
    }

    /// One file more.
    pub(crate) fn file(&mut self) {
        self.files += 1;
        self.tell();
    }

    /// Files and bytes that were copied.
    pub(crate) fn copied(&self) -> (u64, u64) {
        (self.files, self.bytes)
    }

    fn tell(&mut self) {
        if self.again.is_some_and(|at| Instant::now() >= at) {
            self.again = Some(Instant::now() + NEXT);
            self.said = true;
            let mib = self.bytes as f64 / f64::from(1 << 20);
            let _ = write!(
                std::io::stderr(),
                "\r\x1b[Kqila: {mib:.1} MiB, {} files",
                self.files
            ); // for the eye only
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if self.said {
            let _ = write!(std::io::stderr(), "\r\x1b[K"); // for the eye only
        }
    }
}
