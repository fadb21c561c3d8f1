//! Why the host could not be looked at.
use std::path::PathBuf;

/// Why the host could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A directory that the agent is to write cannot be searched for sockets.
    #[error("looking for sockets in {path}: {source}")]
    Unreadable {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A directory that the agent is to write holds too much to be searched, or what cannot be covered.
    #[error("{path}: {what}")]
    Unsearchable {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}
