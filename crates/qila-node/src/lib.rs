//! One machine's sandboxes: launched, adopted, paused, forked, ended; what `qila serve` serves.
//!
//! A sandbox outlives the node's process: its guest goes on by itself, without a network, until a node adopts it again.
#![forbid(unsafe_code)]

mod adopt;
mod birth;
mod clock;
mod core;
mod end;
mod events;
mod evidence;
mod fault;
mod files;
mod freeze;
mod guest;
mod home;
mod launcher;
mod layers;
mod ledger;
mod lifecycle;
mod live;
mod metrics;
mod moving;
mod names;
mod narrow;
mod node;
mod outside;
mod pool;
mod programs;
mod puts;
mod ready;
mod record;
mod shares;
mod snapshot;
mod template;
mod templates;
mod told;
mod warm;
mod watch;
mod zygote;

pub use adopt::Found;
pub use home::HomeError;
pub use launcher::{Launcher, LauncherError};
pub use node::{Config, Machine, StartError};
