//! The one way out: DNS, TLS and HTTP at the wall, credentials placed outside it.
//!
//! A gateway is a process of its own, forked before the sandbox exists. It listens on sockets that were made inside the
//! sandbox's network namespace, decides, records, and dials from the host's. It alone holds the real values of credentials.
//! What it decides goes to the launcher, which keeps the evidence: what must be durable first waits for its word.
#![forbid(unsafe_code)]

mod accounts;
mod addresses;
mod ca;
mod call;
mod config;
mod confine;
mod connection;
mod destination;
mod dial;
mod dns;
mod door;
mod fuzz;
mod gate;
mod http;
mod keeper;
mod launcher;
mod link;
mod names;
mod prefixed;
mod proxy;
mod rate;
mod recorder;
mod relay;
mod secrets;
mod serve;
mod spend;
mod spoken;
mod tls;

pub use accounts::{AccountError, accounts, fold_accounts};
pub use ca::{CaError, authority};
pub use config::{BudgetFile, Config, Leases, Order, Placeholder, Rewrite, Upstream, UpstreamError};
pub use door::USER;
pub use fuzz::fuzz_http;
pub use keeper::available;
pub use keeper::reclaim::{Outcome, is_due, journals, named, take_back};
pub use launcher::{Batch, Gateway, Gone, NotReady};
pub use link::fuzz as fuzz_link;
pub use spend::budget;
