//! Permit, [`HostFacts`] and a tier's capabilities to a [`Plan`]; pure.
//!
//! Everything is decided here. What executes a plan has no choice left, and a plan cannot be changed once made.
#![forbid(unsafe_code)]

mod capabilities;
mod cgroup;
mod environment;
mod facts;
mod landlock;
mod limits;
mod network;
mod plan;
mod planner;
mod refusal;
mod view;

pub use capabilities::{Capabilities, Engine, Missing};
pub use cgroup::{CgroupPlan, Freezer};
pub use environment::{Caller, EnvVar, Seat};
pub use facts::{
    Availability, CgroupFacts, HostFacts, PathFact, PathKind, RootEntry, Unpacked, wanted_paths,
};
pub use network::NetworkPlan;
pub use plan::{Enforcement, Namespace, Plan, Timers, Walls};
pub use planner::{CA_BUNDLE_VARIABLES, CA_VARIABLES, Chosen, Request, choose, plan};
pub use refusal::Refusal;
pub use view::{Injected, View, ViewEntry};
