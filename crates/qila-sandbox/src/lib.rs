//! The [`Backend`] trait, launch and undo, supervision; names no backend.
//!
//! A plan is executed as it stands. Each step that leaves something on the host pushes its undo first; whatever ends the
//! launch, the undos run in reverse.
#![forbid(unsafe_code)]

mod backend;
mod cgroup;
mod child;
mod error;
mod launch;
mod network;
mod restack;
mod undo;
mod view;
pub mod zygote;

pub use backend::{Backend, Stdio};
pub use cgroup::{Counters, counters, doors};
pub use error::LaunchError;
pub use launch::{Born, Ground, Listening, Sandbox, Wrap, bear};
pub use restack::{Restack, restack};
pub use undo::{Undo, sweep_cgroup};
