//! policy.yaml to a typed [`Policy`], and a [`Policy`] under the [`Constitution`] to a [`Permit`]; pure.
#![forbid(unsafe_code)]

pub mod model;
mod permit;

pub use model::Policy;
pub use permit::{Constitution, Permit};
