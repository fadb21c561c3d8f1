//! Images from registries, by the distribution protocol. The registry is trusted with nothing: what it sends is what a digest
//! says, or it is thrown away.
mod address;
mod auth;
mod challenge;
mod client;
mod connect;
mod download;
mod error;
mod exchange;
mod reference;
mod work;

pub use auth::Auth;
pub use error::PullError;
pub use reference::Reference;

use crate::error::ImageError;
use crate::layout::{Index, Manifest, parse};
use crate::shelf::sha256;
use crate::store::{Layered, Store};
use http::Uri;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use work::Pull;

/// How often is looked whether anybody still waits.
const GLANCE: Duration = Duration::from_millis(50);

/// How far a pull has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It is known which image is meant.
    Resolved {
        /// Digest of its manifest.
        digest: String,
        /// Layers that it has.
        layers: usize,
        /// Bytes of its layers, packed, that are not here yet.
        bytes: u64,
    },
    /// A blob is coming.
    Fetching {
        /// Its digest.
        digest: String,
        /// Bytes that are here.
        have: u64,
        /// Bytes that it has.
        size: u64,
    },
    /// All is here, and is unpacked.
    Unpacking,
}

/// Who is told how far a pull has come; called on the pull's own thread.
pub type Watcher = Arc<dyn Fn(Progress) + Send + Sync>;

/// How a registry is asked.
#[derive(Clone, Default)]
pub struct Options {
    /// Registries, as in a reference, that the operator named: these may be on a private network or on this host.
    pub registries: Vec<String>,
    /// Registries that are asked without TLS: only ever over this host's own loopback.
    pub plain_http: Vec<String>,
    /// Certificates, in PEM, of authorities to trust besides the host's.
    pub ca: Option<Vec<u8>>,
    /// Who is told how far it has come.
    pub progress: Option<Watcher>,
}

/// An image that was pulled.
#[derive(Debug)]
pub struct Pulled {
    /// It, ready to be shown.
    pub image: Layered,
    /// What was asked for.
    pub reference: Reference,
    /// What the registry calls it: the digest of a manifest, or of a list of them. Asking for this again gives the same.
    pub digest: String,
    /// Bytes of blobs that came over the network.
    pub fetched: u64,
}

fn host_of(uri: &Uri) -> Result<String, PullError> {
    let authority = uri.authority().map(|a| a.as_str().to_ascii_lowercase());
    authority.ok_or_else(|| PullError::Options("an address without a host".into()))
}

struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Pulls the image for this machine into the store, or finds it there; the registry is asked in any case. A pull that is dropped
/// stops, and the next one goes on from where it was. Blocking work is done on a thread of the runtime's for such.
pub async fn pull(
    reference: Reference,
    store: Arc<Store>,
    auth: Auth,
    options: Options,
) -> Result<Pulled, PullError> {
    let stop = Arc::new(AtomicBool::new(false));
    let guard = StopOnDrop(Arc::clone(&stop));
    let work = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(ImageError::io("starting to pull"))?;
        let until = Instant::now() + store.limits.pull;
        let dropped = || stop.load(Ordering::Relaxed);
        let stopped = || dropped() || Instant::now() >= until;
        let pull = Pull {
            store: &store,
            options: &options,
            stop: &stopped,
        };
        let done = runtime.block_on(async {
            // Also where nothing comes for a while.
            let gone = async {
                while !stopped() {
                    tokio::time::sleep(GLANCE).await;
                }
            };
            tokio::select! {
                done = pull.run(reference, &auth) => done,
                () = gone => Err(ImageError::Stopped.into()),
            }
        });
        match done {
            Err(PullError::Image(ImageError::Stopped)) if !dropped() => {
                Err(PullError::TimedOut(store.limits.pull))
            }
            done => done,
        }
    });
    let done = work.await;
    drop(guard);
    done.map_err(|e| PullError::Options(e.to_string()))?
}

/// Feeds hostile bytes to the readers of what registries and their users write.
pub fn fuzz(bytes: &[u8]) {
    let at = format!("sha256:{}", sha256(bytes));
    if let Ok(manifest) = Manifest::parse(&at, bytes) {
        assert!(manifest.layers.len() <= crate::MAX_LAYERS);
        for blob in manifest.layers.iter().chain([&manifest.config]) {
            assert!(
                blob.hex()
                    .map_or(true, |hex| hex.len() == 64 && !hex.contains(['/', '.']))
            );
        }
    }
    let _ = parse::<Index>(&at, bytes).map(|list| list.manifests.len());
    if let Ok(config) = crate::ImageConfig::parse(&at, bytes, 1) {
        let words = config.env.iter().chain(&config.entrypoint).chain(&config.cmd);
        assert!(
            words
                .chain(&config.working_dir)
                .chain(&config.user)
                .all(|w| !w.contains('\0'))
        );
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    challenge::fuzz(text);
    if let Ok(reference) = Reference::parse(text) {
        // What is read is written so that it is read again, and is a part of an address without being more than that.
        let again = reference.to_string();
        assert!(Reference::parse(&again).is_ok_and(|r| r == reference));
        assert!(
            !reference.repository.contains("..") && !again.contains(['?', '#', '%', ' ', '\r', '\n', '\\'])
        );
    }
}
