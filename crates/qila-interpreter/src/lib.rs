//! Cells of code run one after another in contexts, inside a sandbox, with rich results.
//!
//! It runs as one of the sandbox's programs, under its walls, and serves what E2B's code interpreter is asked on port 49999.
//! Python is a real `ipykernel`, spoken to over ZeroMQ; bash and JavaScript are programs that live as long as their context.
#![forbid(unsafe_code)]

mod birth;
mod cell;
mod contexts;
mod driver;
mod heard;
mod http;
mod interrupt;
mod kernel;
mod mime;
mod split;

pub use contexts::Language;

use std::net::SocketAddr;
use std::path::PathBuf;

/// What it is started with.
#[derive(Debug, Clone)]
pub struct Interpret {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The Python that kernels run in.
    pub python: String,
    /// Where contexts begin that name no directory.
    pub home: PathBuf,
}

impl Default for Interpret {
    fn default() -> Interpret {
        Interpret {
            listen: SocketAddr::from(([127, 0, 0, 1], 49_999)),
            python: "python3".into(),
            home: std::env::var_os("HOME").map_or_else(|| "/home/user".into(), PathBuf::from),
        }
    }
}

/// Why it does not serve.
#[derive(Debug, thiserror::Error)]
pub enum InterpretError {
    /// The port cannot be had.
    #[error("listening on {0}: {1}")]
    Listen(SocketAddr, std::io::Error),
    /// The threads cannot.
    #[error("starting: {0}")]
    Start(std::io::Error),
}

/// Serves until it is killed.
pub fn main(with: &Interpret) -> Result<(), InterpretError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(InterpretError::Start)?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(with.listen).await;
        let listener = listener.map_err(|e| InterpretError::Listen(with.listen, e))?;
        http::serve(listener, with.clone())
            .await
            .map_err(InterpretError::Start)
    })
}

/// The same on a socket that listens already, for tests.
pub async fn serve(listener: tokio::net::TcpListener, with: Interpret) -> std::io::Result<()> {
    http::serve(listener, with).await
}
