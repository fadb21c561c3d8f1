//! Attacks that claim to break a promise, judged from outside the sandbox.
//!
//! See `README.md` for how a verdict comes about and for the list of attacks.
#![forbid(unsafe_code)]

pub mod canary;
pub mod case;
pub mod compile;
pub mod host;
pub mod hosts;
pub mod known;
pub mod markdown;
pub mod matrix;
pub mod outcome;
pub mod policy;
pub mod run;
pub mod smuggle;
pub mod stage;
pub mod table;
pub mod target;
pub mod user;
pub mod world;
