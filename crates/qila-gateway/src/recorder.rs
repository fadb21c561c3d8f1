//! Where the gateway's decisions go before they take effect.
use qila_types::EventKind;
use std::future::Future;
use std::pin::Pin;

/// Evidence could not be written; what was to be recorded must not happen.
#[derive(Debug, Clone, thiserror::Error)]
#[error("evidence could not be recorded: {0}")]
pub struct RecordError(pub String);

/// Takes events. The evidence log is held by another process; the gateway never sees its key.
pub trait Recorder: Send + Sync + 'static {
    /// Resolves when the event is durable. For connects, credential use and denials that must outlive a crash.
    fn durable(&self, event: EventKind)
    -> Pin<Box<dyn Future<Output = Result<(), RecordError>> + Send + '_>>;

    /// Hands the event over without waiting. Fails if the queue is full or gone: the caller must then deny.
    fn soon(&self, event: EventKind) -> Result<(), RecordError>;
}
