//! The one way out: DNS, TLS and HTTP at the wall, credentials placed outside it.
#![forbid(unsafe_code)]

mod config;
mod recorder;

pub use config::{Certificates, GatewayConfig, Listeners, Secret, Upstream};
pub use recorder::{RecordError, Recorder};
