//! The copy-on-write workspace layer: what an agent changed, shown, applied to the host, or thrown away.
//!
//! A run's layer is the upper directory of an overlayfs mounted inside the sandbox with `userxattr`; the workspace on
//! the host is its lower directory and is never written while the agent works. After the run, with nothing mounted,
//! this crate reads the upper directory ([`Layer`]), shows the changes ([`write_diff`], [`write_stat`]), and carries
//! them to the workspace as one transaction ([`RunLayer::apply`]) or removes them ([`RunLayer::discard`]).
//!
//! Everything beneath `upper` was made by the agent and is hostile: every path is resolved beneath a directory
//! descriptor without following a symbolic link, special files are reported and never applied, set-id and sticky bits
//! are dropped, and every count, depth and size has a bound ([`Limits`]). See `README.md` for the choices behind it.
#![forbid(unsafe_code)]

mod apply;
mod baseline;
mod change;
mod conflict;
mod content;
mod copy;
mod diff;
mod error;
mod layer;
mod limits;
mod os;
mod quote;
mod remove;
mod risk;
mod room;
mod run;
mod sampler;
mod select;
mod spine;
mod state;
mod usage;
mod walk;

pub use apply::{Applied, ApplyError, ApplyOptions, Recovered, Risky};
pub use baseline::{Baseline, BaselineError};
pub use change::{Change, ChangeKind, Changes, Node, NodeKind, SkipReason, Skipped};
pub use conflict::{Conflict, ConflictReason};
pub use copy::{Copied, CopyError, copy_tree};
pub use diff::{DiffError, Stat, Style, write_diff, write_stat};
pub use error::At;
pub use layer::{Layer, WalkError};
pub use limits::Limits;
pub use quote::{quote_path, write_escaped};
pub use remove::{RemoveError, Removed, remove_tree};
pub use risk::{RISKS, Risk, Rule, risk_of};
pub use room::Room;
pub use run::{RunError, RunLayer};
pub use sampler::DiskSampler;
pub use state::{LayerState, Progress, StateError};
pub use usage::{Usage, usage};
