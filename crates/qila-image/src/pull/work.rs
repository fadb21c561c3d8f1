//! One pull: which image is meant, what of it is missing, and its way into the store.
use super::client::Client;
use super::download;
use super::{Auth, Options, Progress, PullError, Pulled, Reference};
use crate::blob::Descriptor;
use crate::error::ImageError;
use crate::layout::{Index, MAX_DOCUMENT, Manifest, architecture, parse};
use crate::lock::try_alone;
use crate::records::{self, Named};
use crate::shelf::{claim, find, sha256, slot};
use crate::store::{Assembled, Layered, Store};
use rustix::fs::{AtFlags, unlinkat};
use rustix::io::Errno;

/// Deepest nesting of lists.
const MAX_DEPTH: usize = 4;
/// How often a blob is asked for that does not come whole; each time from where it ended.
const ATTEMPTS: usize = 3;

/// Whether a document is a list.
#[derive(serde::Deserialize)]
struct Kind {
    manifests: Option<serde::de::IgnoredAny>,
}

/// One pull, on a thread of its own.
pub(super) struct Pull<'a> {
    pub store: &'a Store,
    pub options: &'a Options,
    pub stop: &'a dyn Fn() -> bool,
}

impl Pull<'_> {
    fn tell(&self, progress: Progress) {
        if let Some(watcher) = &self.options.progress {
            watcher(progress);
        }
    }

    pub(super) async fn run(&self, reference: Reference, auth: &Auth) -> Result<Pulled, PullError> {
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
        self.tidy(&hex, &manifest)?;
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

    /// Takes packed layers and locks away, unless somebody else may be about to use them: then the next one does, or a sweep.
    fn tidy(&self, hex: &str, manifest: &Manifest) -> Result<(), PullError> {
        let dir = &self.store.dir;
        let Some(_alone) = try_alone(dir)? else {
            return Ok(());
        };
        let mut all = vec![slot(hex), slot(manifest.config.hex()?)];
        for layer in &manifest.layers {
            let hex = layer.hex()?;
            all.extend([slot(hex), format!("blobs/sha256/{hex}")]);
        }
        for path in all {
            match unlinkat(dir, path, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(e) => return Err(ImageError::errno("removing packed layers")(e).into()),
            }
        }
        Ok(())
    }
}
