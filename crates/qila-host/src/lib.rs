//! What this host offers: kernel, cgroups, user namespaces, files; collected as [`qila_plan::HostFacts`].
#![forbid(unsafe_code)]

mod error;
mod facts;
mod piled;
mod sockets;

pub use error::HostError;
pub use facts::{Look, ca_bundles, cgroups, collect};
