//! What goes wrong with a zygote.
use crate::guest::LineError;
use qila_sandbox::LaunchError;
use qila_sandbox::zygote::RequestError;
use rustix::io::Errno;
use std::time::Duration;

/// Why there is no zygote, or no fork of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ZygoteError {
    #[error("the warm program did not become warm: {0}")]
    Cold(String),
    #[error("the warm program is gone")]
    Gone,
    #[error("it took longer than {} s", .0.as_secs())]
    Late(Duration),
    #[error("the guest spoke out of turn: {0}")]
    Guest(String),
    #[error(transparent)]
    Line(#[from] LineError),
    #[error("the request for a fork: {0}")]
    Request(#[from] RequestError),
    #[error(transparent)]
    Doors(#[from] LaunchError),
    #[error("the warm program cannot be reached: {0}")]
    Broken(Errno),
}
