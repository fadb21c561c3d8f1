//! What a kernel publishes, read at once whether a cell runs or not: ZeroMQ throws away what a subscriber does not read.
use crate::kernel::of;
use jupyter_protocol::messaging::JupyterMessage;
use jupyter_zmq_client::ClientIoPubConnection;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Messages of a cell that wait to be passed on, which takes no time.
const QUEUE: usize = 64;
/// So many messages in a row that cannot be read mean that none can.
const NONSENSE: usize = 16;

/// Listens to a kernel, as long as it is kept.
pub(crate) struct Heard {
    /// The request whose messages are wanted; of others nothing is kept.
    wanted: Arc<Mutex<Option<String>>>,
    from: mpsc::Receiver<Result<JupyterMessage, String>>,
    task: JoinHandle<()>,
}

impl Heard {
    pub(crate) fn new(iopub: ClientIoPubConnection) -> Heard {
        let wanted = Arc::default();
        let (to, from) = mpsc::channel(QUEUE);
        let task = tokio::spawn(listen(iopub, Arc::clone(&wanted), to));
        Heard { wanted, from, task }
    }

    /// From now on, what comes of this request is wanted, or of none.
    pub(crate) fn want(&mut self, id: Option<&str>) {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        *wanted = id.map(str::to_owned);
        drop(wanted);
        while self.from.try_recv().is_ok() {}
    }

    /// The next message, or why one could not be read. None: there will be no more.
    pub(crate) async fn next(&mut self) -> Option<Result<JupyterMessage, String>> {
        self.from.recv().await
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(
    mut iopub: ClientIoPubConnection,
    wanted: Arc<Mutex<Option<String>>>,
    to: mpsc::Sender<Result<JupyterMessage, String>>,
) {
    let mut nonsense = 0;
    while nonsense < NONSENSE {
        let read = iopub.read().await.map_err(|e| e.to_string());
        nonsense = if read.is_err() { nonsense + 1 } else { 0 };
        let is_wanted = match wanted.lock().unwrap_or_else(PoisonError::into_inner).as_deref() {
            Some(id) => read.as_ref().map_or(true, |message| of(message, id)),
            None => false,
        };
        if is_wanted && to.send(read).await.is_err() {
            return;
        }
    }
}
