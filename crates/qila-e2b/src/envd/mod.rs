//! What envd serves on port 49983 of each sandbox: its processes and its files.
mod access;
mod download;
mod entry;
mod environment;
mod filesystem;
mod form;
mod limit;
mod multipart;
mod plain;
mod process;
mod reap;
mod start;
mod upload;
mod user;
mod watch;
mod watchers;
mod wire;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::StatusCode;
use qila_api::Node;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The version of envd whose ways these are. SDKs ask it what they may ask for.
pub const ENVD_VERSION: &str = "0.6.4";

/// Streams of processes and watches at once. Beyond, a new one is refused.
const STREAMS: usize = 8192;

/// What all requests have in common.
struct Shared {
    node: Arc<dyn Node>,
    watchers: watchers::Watchers,
    streams: Arc<Semaphore>,
    reapers: reap::Reapers,
}

type Envd = Arc<Shared>;

/// Serves port 49983 of every sandbox. Which one is meant, a request's extension [`qila_api::SandboxId`] says, else its header
/// `E2b-Sandbox-Id`.
pub fn envd(node: Arc<dyn Node>) -> Router {
    let shared = Arc::new(Shared {
        node,
        watchers: watchers::Watchers::default(),
        streams: Arc::new(Semaphore::new(STREAMS)),
        reapers: reap::Reapers::default(),
    });
    Router::new()
        .route("/health", get(plain::health))
        .route("/metrics", get(plain::metrics))
        .route("/envs", get(environment::envs))
        .route("/files", get(download::download).post(upload::upload))
        .route("/process.Process/List", post(process::list))
        .route("/process.Process/Start", post(start::start))
        .route("/process.Process/Connect", post(start::connect))
        .route("/process.Process/Update", post(process::update))
        .route("/process.Process/StreamInput", post(process::stream_input))
        .route("/process.Process/SendInput", post(process::send_input))
        .route("/process.Process/SendSignal", post(process::send_signal))
        .route("/process.Process/CloseStdin", post(process::close_stdin))
        .route("/filesystem.Filesystem/Stat", post(filesystem::stat))
        .route("/filesystem.Filesystem/MakeDir", post(filesystem::make_dir))
        .route("/filesystem.Filesystem/Move", post(filesystem::rename))
        .route("/filesystem.Filesystem/ListDir", post(filesystem::list_dir))
        .route("/filesystem.Filesystem/Remove", post(filesystem::remove))
        .route("/filesystem.Filesystem/WatchDir", post(watch::watch_dir))
        .route("/filesystem.Filesystem/CreateWatcher", post(watchers::create))
        .route("/filesystem.Filesystem/GetWatcherEvents", post(watchers::events))
        .route("/filesystem.Filesystem/RemoveWatcher", post(watchers::remove))
        .fallback(async || unknown("there is no such route"))
        // Bodies have bounds of their own, or are streams.
        .layer(DefaultBodyLimit::disable())
        .with_state(shared)
}

fn unknown(message: &str) -> Response {
    plain::say(StatusCode::NOT_FOUND, message).into_response()
}
