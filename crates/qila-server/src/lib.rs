//! The HTTP face of a node: the native API, keys and tenants, ports of sandboxes, health and metrics.
//!
//! [`serve`] listens. A request whose host or headers name a sandbox's port goes to that port ([`mod@edge`]); all others go to
//! the routes: `/v1`, `/healthz`, `/metrics`, `/openapi.json`, then whatever [`Config::control`] has.
//! Everything of another tenant's is *not found*.
#![forbid(unsafe_code)]

mod app;
mod body;
mod config;
mod edge;
mod gate;
mod health;
mod key;
mod metrics;
mod once;
mod openapi;
mod problem;
mod serve;
mod tls;
mod v1;

pub use config::{BeforePort, Config, Limits, Log, Missing, NotFound, ServeError};
pub use key::{Keyring, Minted, for_e2b, hash, mint};
pub use openapi::document;
pub use problem::Problem;
pub use serve::{Report, serve};
