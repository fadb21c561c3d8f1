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

pub use auth::Auth;
pub use error::PullError;
pub use reference::Reference;

use crate::blob::Descriptor;
use crate::error::ImageError;
use crate::layout::{Index, MAX_DOCUMENT, Manifest, architecture, parse};
use crate::lock::try_alone;
use crate::records::{self, Named};
use crate::shelf::{claim, find, sha256};
use crate::store::{Assembled, Layered, Store};
use client::Client;
use http::Uri;
use rustix::fs::{AtFlags, unlinkat};
use rustix::io::Errno;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Deepest nesting of lists.
const MAX_DEPTH: usize = 4;
/// How often a blob is asked for that does not come whole; each time from where it ended.
const ATTEMPTS: usize = 3;

/// How often is looked whether anybody still waits.
const GLANCE: Duration = Duration::from_millis(50);

/// Whether a document is a list.
#[derive(serde::Deserialize)]
struct Kind {
    manifests: Option<serde::de::IgnoredAny>,
}

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
        let stopped = || stop.load(Ordering::Relaxed);
        let pull = Pull {
            store: &store,
            options: &options,
            stop: &stopped,
        };
        runtime.block_on(async {
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
        })
    });
    let done = work.await;
    drop(guard);
    done.map_err(|e| PullError::Options(e.to_string()))?
}

struct Pull<'a> {
    store: &'a Store,
    options: &'a Options,
    stop: &'a dyn Fn() -> bool,
}

impl Pull<'_> {
    fn tell(&self, progress: Progress) {
        if let Some(watcher) = &self.options.progress {
            watcher(progress);
        }
    }

    async fn run(&self, reference: Reference, auth: &Auth) -> Result<Pulled, PullError> {
        let user = self.store.user(self.stop)?;
        let mut client = Client::new(&reference, auth, self.options)?;
        let (digest, descriptor, manifest) = self.resolve(&mut client, &reference).await?;
        let hex = descriptor.hex()?.to_owned();
        let mut fetched = 0;
        let image = match self.store.kept(&hex)? {
            Some(image) => image,
            None => {
                self.bring(&mut client, &descriptor, &manifest, &mut fetched)
                    .await?
            }
        };
        let named = Named {
            reference: reference.to_string(),
            digest: digest.clone(),
            manifest: descriptor.digest.clone(),
        };
        records::write(
            &self.store.dir,
            "refs",
            &sha256(named.reference.as_bytes()),
            &named,
        )?;
        drop(user);
        self.tidy(&manifest)?;
        Ok(Pulled {
            image,
            reference,
            digest,
            fetched,
        })
    }

    /// Which image is meant: what the registry calls it, its manifest's name and the manifest.
    async fn resolve(
        &self,
        client: &mut Client<'_>,
        reference: &Reference,
    ) -> Result<(String, Descriptor, Manifest), PullError> {
        let (mut bytes, digest) = client.manifest(reference.wanted(), None).await?;
        let mut at = digest.clone();
        for _ in 0..MAX_DEPTH {
            let kind: Kind = parse(&at, &bytes)?;
            if kind.manifests.is_none() {
                let manifest = Manifest::parse(&at, &bytes)?;
                self.bounded(&at, &manifest)?;
                let size = bytes.len() as u64;
                return Ok((digest, Descriptor::of(at, size), manifest));
            }
            let here = architecture();
            let list: Index = parse(&at, &bytes)?;
            let ours = |d: &&Descriptor| {
                d.platform
                    .as_ref()
                    .is_some_and(|p| p.os == "linux" && p.architecture == here)
            };
            let found = list.manifests.iter().find(ours);
            let found = found
                .ok_or_else(|| ImageError::NoImage(format!("{reference} has no image for linux/{here}")))?;
            let name = format!("sha256:{}", found.hex()?);
            (bytes, at) = client.manifest(&name, Some(found.size)).await?;
        }
        Err(ImageError::format(&at, "lists within lists without end").into())
    }

    fn bounded(&self, digest: &str, manifest: &Manifest) -> Result<(), PullError> {
        let all = manifest
            .layers
            .iter()
            .try_fold(0u64, |n, l| n.checked_add(l.size));
        let most = self.store.limits.bytes;
        if manifest.config.size > MAX_DOCUMENT || all.is_none_or(|n| n > most) {
            return Err(ImageError::format(digest, format!("its layers have more than {most} bytes")).into());
        }
        Ok(())
    }

    async fn bring(
        &self,
        client: &mut Client<'_>,
        descriptor: &Descriptor,
        manifest: &Manifest,
        fetched: &mut u64,
    ) -> Result<Layered, PullError> {
        let dir = &self.store.dir;
        let mut missing = Vec::new();
        for layer in &manifest.layers {
            if find(dir, layer)?.is_none() {
                missing.push(layer);
            }
        }
        self.tell(Progress::Resolved {
            digest: descriptor.digest.clone(),
            layers: manifest.layers.len(),
            bytes: missing.iter().map(|l| l.size).sum(),
        });
        *fetched += self.fetch(client, &manifest.config, true).await?;
        for layer in missing {
            *fetched += self.fetch(client, layer, false).await?;
        }
        self.tell(Progress::Unpacking);
        let done = match self.store.assemble(dir, descriptor, manifest, false, self.stop)? {
            Assembled::Image(image) => image,
            Assembled::NeedsAll => {
                for layer in &manifest.layers {
                    *fetched += self.fetch(client, layer, true).await?;
                }
                match self.store.assemble(dir, descriptor, manifest, true, self.stop)? {
                    Assembled::Image(image) => image,
                    Assembled::NeedsAll => {
                        let why = "its layers cannot be laid over each other";
                        return Err(ImageError::format(&descriptor.digest, why).into());
                    }
                }
            }
        };
        Ok(*done)
    }

    /// Fetches a blob that is not here. `packed`: even if it is here as a layer.
    async fn fetch(
        &self,
        client: &mut Client<'_>,
        blob: &Descriptor,
        packed: bool,
    ) -> Result<u64, PullError> {
        let dir = &self.store.dir;
        let _claim = claim(dir, blob.hex()?, self.stop)?;
        // Whoever had the claim before may have unpacked it.
        if !packed && find(dir, blob)?.is_some() {
            return Ok(0);
        }
        let mut told = 0;
        let mut progress = |have: u64| {
            // Each percent is enough.
            if have == blob.size || have >= told + blob.size / 100 {
                told = have;
                self.tell(Progress::Fetching {
                    digest: blob.digest.clone(),
                    have,
                    size: blob.size,
                });
            }
        };
        let mut attempt = 1;
        loop {
            match download::fetch(client, dir, blob, &mut progress, self.stop).await {
                Err(PullError::Exchange { .. } | PullError::Short { .. }) if attempt < ATTEMPTS => {
                    attempt += 1
                }
                done => return done,
            }
        }
    }

    /// Takes packed layers away, unless somebody else may be about to read them: then the next one does, or a sweep.
    fn tidy(&self, manifest: &Manifest) -> Result<(), PullError> {
        let dir = &self.store.dir;
        let Some(_alone) = try_alone(dir)? else {
            return Ok(());
        };
        for layer in &manifest.layers {
            match unlinkat(dir, format!("blobs/sha256/{}", layer.hex()?), AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(e) => return Err(ImageError::errno("removing packed layers")(e).into()),
            }
        }
        Ok(())
    }
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
