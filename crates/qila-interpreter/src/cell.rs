//! A cell of code, and what comes of it.
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;

/// Most bytes that one cell may say in all: results, streams and traces together.
const MOST: usize = 64 << 20;
/// What each thing that is said counts besides its text, in bytes: what it takes while it waits.
const EACH: usize = 128;

/// A cell to be run.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    pub code: String,
    pub env: BTreeMap<String, String>,
}

/// Something that comes of a cell.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Said {
    Stdout(String),
    Stderr(String),
    /// Representations by their names, and whether it is the value of the cell itself.
    Result(Map<String, Value>, bool),
    Error {
        name: String,
        value: String,
        traceback: String,
    },
    /// The cell's number in its context.
    Count(u64),
}

impl Said {
    /// An error that is not the code's own.
    pub(crate) fn failure(name: &str, value: impl Into<String>) -> Said {
        let value = value.into();
        Said::Error {
            name: name.to_owned(),
            traceback: format!("{name}: {value}"),
            value,
        }
    }

    /// As a line for whoever asked.
    pub(crate) fn line(&self) -> String {
        let value = match self {
            Said::Stdout(text) => json!({"type": "stdout", "text": text, "timestamp": now_ns()}),
            Said::Stderr(text) => json!({"type": "stderr", "text": text, "timestamp": now_ns()}),
            Said::Result(parts, main) => {
                let mut object = parts.clone();
                object.insert("type".into(), "result".into());
                object.insert("is_main_result".into(), (*main).into());
                Value::Object(object)
            }
            Said::Error {
                name,
                value,
                traceback,
            } => json!({"type": "error", "name": name, "value": value, "traceback": traceback}),
            Said::Count(n) => json!({"type": "number_of_executions", "execution_count": n}),
        };
        format!("{value}\n")
    }

    fn size(&self) -> usize {
        match self {
            Said::Stdout(text) | Said::Stderr(text) => text.len(),
            Said::Result(..) => self.line().len(),
            Said::Error {
                name,
                value,
                traceback,
            } => name
                .len()
                .saturating_add(value.len())
                .saturating_add(traceback.len()),
            Said::Count(_) => 8,
        }
    }
}

fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since
        .ok()
        .and_then(|d| u64::try_from(d.as_nanos()).ok())
        .unwrap_or(0)
}

/// Whoever asked for a cell is gone, or has heard all that a cell may say: it is to be interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Enough;

/// Where what comes of a cell goes. What a slow client has not heard yet waits there, 64 MiB at most: a kernel publishes to
/// whoever reads, and throws away what is not read in time.
#[derive(Debug)]
pub(crate) struct Listener {
    to: mpsc::UnboundedSender<Said>,
    left: usize,
}

impl Listener {
    pub(crate) fn new(to: mpsc::UnboundedSender<Said>) -> Listener {
        Listener { to, left: MOST }
    }

    /// Says something.
    pub(crate) fn say(&mut self, said: Said) -> Result<(), Enough> {
        let size = said.size().saturating_add(EACH);
        if size > self.left {
            if self.left > 0 {
                self.left = 0;
                let text = format!("this cell has said {} MiB, the most that one may", MOST >> 20);
                let _ = self.to.send(Said::failure("OutputLimit", text)); // gone or not, it is enough
            }
            return Err(Enough);
        }
        self.left -= size;
        self.to.send(said).map_err(|_| Enough)
    }

    /// Whether nobody listens any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.to.is_closed()
    }

    /// Until nobody listens any more.
    pub(crate) async fn gone(&self) {
        self.to.closed().await;
    }
}
