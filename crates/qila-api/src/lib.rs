//! What a machine's sandboxes can be asked for: the words and the trait between the HTTP faces and the node; no I/O.
//!
//! Every operation names the tenant that asks. A sandbox, snapshot or template of another tenant is *not found*.
#![forbid(unsafe_code)]

mod auth;
mod create;
mod error;
mod file;
mod id;
mod node;
mod process;
mod sandbox;
mod template;

pub use auth::{Authenticator, Principal, Quota, Quotas};
pub use create::{Create, Fork, NetworkWish, OnTimeout};
pub use error::{ApiError, Kind};
pub use file::{Change, Entry, EntryKind, FileEvent, Reader, Stream, Watch, Writer};
pub use id::{BadId, ProcessId, SandboxId, SnapshotId, Tenant};
pub use node::Node;
pub use process::{Attach, Exec, Input, Output, Process, ProcessInfo, Select, Size, Status};
pub use sandbox::{Cursor, Event, Filter, LogLine, Metrics, Page, Sandbox, Snapshot, State};
pub use template::{Source, Template, TemplateState, Zygote};

/// What an operation answers.
pub type Result<T> = std::result::Result<T, ApiError>;
