//! Real listeners of the host, which record what arrives.
mod dns;
mod tcp;
mod tls;
mod udp;
mod unix;

pub use dns::{Answers, NameServer};
pub use tcp::{Reply, TcpHost, sink};
pub use tls::Authority;
pub use udp::UdpHost;
pub use unix::UnixHost;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most bytes that one listener keeps.
const KEPT: usize = 4 << 20;

/// What arrived at a listener: one entry for each connection or datagram. The listener lives as long as this does, because
/// a judge's closure may hold nothing else of it.
#[derive(Debug, Clone, Default)]
pub struct Arrivals(
    Arc<Mutex<Vec<Vec<u8>>>>,
    #[expect(dead_code, reason = "held for its Drop")] Option<Arc<Running>>,
);

impl Arrivals {
    fn lock(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same record, which also keeps the listener running.
    pub(crate) fn keeping(&self, running: Running) -> Arrivals {
        Arrivals(self.0.clone(), Some(Arc::new(running)))
    }

    /// A new entry; its index.
    pub(crate) fn begin(&self) -> usize {
        let mut all = self.lock();
        all.push(Vec::new());
        all.len() - 1
    }

    /// More of an entry.
    pub(crate) fn add(&self, index: usize, bytes: &[u8]) {
        if let Some(entry) = self.lock().get_mut(index)
            && entry.len() + bytes.len() <= KEPT
        {
            entry.extend_from_slice(bytes);
        }
    }

    /// How many connections or datagrams there were.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Everything, one entry each.
    pub fn all(&self) -> Vec<Vec<u8>> {
        self.lock().clone()
    }

    /// Whether the bytes arrived in one entry.
    pub fn contain(&self, bytes: &[u8]) -> bool {
        !bytes.is_empty()
            && self
                .lock()
                .iter()
                .any(|e| e.windows(bytes.len()).any(|w| w == bytes))
    }

    /// The judge's sentence, if the token arrived.
    pub fn saw(&self, token: &str, place: &str) -> Option<String> {
        self.contain(token.as_bytes())
            .then(|| format!("the canary arrived at {place}"))
    }
}

/// Tells a listener's threads to end when dropped.
#[derive(Debug)]
pub(crate) struct Running(pub(crate) Arc<AtomicBool>);

impl Running {
    pub(crate) fn new() -> Running {
        Running(Arc::new(AtomicBool::new(true)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
