//! The log of requests on standard error, written by a thread of its own: a reader that does not read stops no request.
use qila_server::Log;
use serde_json::Value;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

/// Lines that may wait. What is beyond is counted and not written.
const WAITING: usize = 8192;
/// How long the last lines may take.
const LAST: Duration = Duration::from_secs(1);

/// The log.
pub(crate) struct Logs {
    lines: SyncSender<String>,
    lost: Arc<AtomicU64>,
    json: bool,
    written: std::sync::mpsc::Receiver<()>,
}

impl Logs {
    /// Starts it: lines of JSON, or lines for people.
    pub fn start(json: bool) -> std::io::Result<Logs> {
        let (lines, waiting) = sync_channel::<String>(WAITING);
        let (done, written) = sync_channel(1);
        let lost = Arc::new(AtomicU64::new(0));
        let missed = Arc::clone(&lost);
        let write = move || {
            for line in waiting {
                let n = missed.swap(0, Ordering::Relaxed);
                let mut out = std::io::stderr().lock();
                // If nobody reads it, nobody misses it.
                if n > 0 {
                    let _ = writeln!(out, "qila: {n} lines of the log were not written");
                }
                if line.is_empty() {
                    let _ = done.send(());
                    return;
                }
                let _ = writeln!(out, "{line}");
            }
        };
        std::thread::Builder::new().name("log".to_owned()).spawn(write)?;
        Ok(Logs {
            lines,
            lost,
            json,
            written,
        })
    }

    /// Takes one line for each request.
    pub fn sink(&self) -> Log {
        let (lines, lost, json) = (self.lines.clone(), Arc::clone(&self.lost), self.json);
        Arc::new(move |value| {
            let line = if json { value.to_string() } else { plain(value) };
            if lines.try_send(line).is_err() {
                lost.fetch_add(1, Ordering::Relaxed);
            }
        })
    }

    /// Waits for the last lines.
    pub fn end(self) {
        if self.lines.try_send(String::new()).is_ok() {
            let _ = self.written.recv_timeout(LAST);
        }
    }
}

/// For people: `404 GET /v1/sandboxes/{sandbox} 1.2 ms, default`.
fn plain(value: &Value) -> String {
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or("");
    let number = |name: &str| value.get(name).map(Value::to_string).unwrap_or_default();
    let whose = match (text("tenant"), text("sandbox")) {
        ("", "") => String::new(),
        ("", sandbox) => format!(", {}:{}", crate::ps::harmless(sandbox), number("port")),
        (tenant, _) => format!(", {tenant}"),
    };
    format!(
        "{} {} {} {} ms{whose}",
        number("status"),
        text("method"),
        text("route"),
        number("ms")
    )
}
