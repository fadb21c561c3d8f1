#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod batch;
mod checker;
mod dir;
mod error;
mod export;
mod frame;
mod fuzz;
mod head;
mod key;
mod leaf;
mod log;
mod merkle;
mod note;
mod ocsf;
mod otlp;
mod reader;
mod report;
mod scan;
mod settle;
mod signatures;
mod store;
mod verify;
mod window;
mod writer;

pub use batch::{Ticket, WriteError};
pub use error::LogError;
pub use export::{Exported, export_tiles};
pub use fuzz::fuzz;
pub use log::{Committed, Log};
pub use note::{Checkpoint, NoteError, VerifierKey};
pub use ocsf::{OCSF_VERSION, ocsf};
pub use otlp::{OTLP_SCHEMA, Traces};
pub use reader::{Entry, Reader};
pub use report::{Finding, Noted, Report, Witness};
pub use verify::verify;
pub use writer::{Full, QUEUE, Writer};
