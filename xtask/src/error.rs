//! What can go wrong while running a check, as opposed to what a check finds.
use std::path::PathBuf;

/// A check that could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line was not understood.
    #[error("{0}")]
    Usage(String),
    /// A file or folder could not be used.
    #[error("cannot {verb} {}", path.display())]
    File {
        /// What was being done to it.
        verb: &'static str,
        /// Which one.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A program could not be started.
    #[error("cannot start `{program}`")]
    Start {
        /// The program's name.
        program: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A program that must succeed did not.
    #[error("`{command}` ended with {status}")]
    Failed {
        /// The command line.
        command: String,
        /// How it ended.
        status: String,
    },
    /// A program's JSON could not be read.
    #[error("cannot read the JSON of `{0}`")]
    Json(&'static str, #[source] serde_json::Error),
    /// A program's output lacks what was expected of it.
    #[error("{0}")]
    Unexpected(String),
}

impl Error {
    /// Returns a closure that names the file in an I/O error.
    pub fn file(verb: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.into();
        move |source| Error::File { verb, path, source }
    }
}
