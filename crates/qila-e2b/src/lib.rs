//! The API that E2B's SDKs speak, over a node: the control plane, and what envd serves on port 49983 of each sandbox.
//!
//! [`control`] and [`envd`] are routers; [`Interpreter`] starts what serves port 49999 when it is first asked for. What each
//! request of an SDK becomes, and what is refused, is in `docs/e2b.md`. Wire names are E2B's.
#![forbid(unsafe_code)]

mod connect;
mod control;
mod envd;
mod interpreter;
mod missing;
mod secret;
mod time;

pub use control::control;
pub use envd::{ENVD_VERSION, envd};
pub use interpreter::Interpreter;
pub use missing::{nothing_listens, sandbox_not_found};

/// The port of a sandbox that envd serves.
pub const ENVD_PORT: u16 = 49983;
/// The port of a sandbox on which cells of code are run.
pub const INTERPRETER_PORT: u16 = 49999;
