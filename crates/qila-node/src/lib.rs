//! One machine's sandboxes: launched, adopted, paused, forked, ended; what `qila serve` serves.
//!
//! A sandbox outlives the node's process: its guest goes on by itself, without a network, until a node adopts it again.
#![forbid(unsafe_code)]

#![allow(dead_code, reason = "the machine that uses them comes with the next step")]

mod clock;
mod events;
mod evidence;
mod fault;
mod guest;
mod launcher;
mod names;
mod record;

pub use launcher::{Launcher, LauncherError};
