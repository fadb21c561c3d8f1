//! Images from registries: a real one, and some that lie.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "helpers of tests: a failure here is the test's"
)]
#[path = "../common/mod.rs"]
mod common;
mod fake;
mod lies;
mod real;
mod slow;

use common::{Item, gzip, machine, tar};
use qila_image::{Auth, Limits, Options, PullError, Pulled, Reference, Store};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::Arc;

pub(crate) fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
    format!("sha256:{hex}")
}

pub(crate) fn file<'a>(path: &'a str, body: &'a [u8]) -> Item<'a> {
    (path.as_bytes(), b'0', b"", 0o644, body)
}

/// An image: its manifest, and its blobs with the configuration first.
pub(crate) struct Made {
    pub(crate) manifest: Vec<u8>,
    pub(crate) blobs: Vec<Vec<u8>>,
}

pub(crate) fn made(layers: &[&[Item<'_>]]) -> Made {
    let tars: Vec<Vec<u8>> = layers.iter().map(|l| tar(l)).collect();
    let ids: Vec<String> = tars.iter().map(|t| digest(t)).collect();
    let config = format!(
        "{{\"os\":\"linux\",\"architecture\":\"{}\",\"rootfs\":{{\"diff_ids\":{ids:?}}},\"config\":{{\"Cmd\":[\"/bin/x\"]}}}}",
        machine()
    );
    let mut blobs = vec![config.into_bytes()];
    blobs.extend(tars.iter().map(|t| gzip(t)));
    let place = |media: &str, blob: &[u8]| {
        format!(
            "{{\"mediaType\":\"application/vnd.oci.image.{media}\",\"digest\":\"{}\",\"size\":{}}}",
            digest(blob),
            blob.len()
        )
    };
    let layers: Vec<String> = blobs[1..].iter().map(|b| place("layer.v1.tar+gzip", b)).collect();
    let manifest = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"config\":{},\"layers\":[{}]}}",
        place("config.v1+json", &blobs[0]),
        layers.join(",")
    );
    Made {
        manifest: manifest.into_bytes(),
        blobs,
    }
}

/// A list with an image for another machine and this one.
pub(crate) fn list(made: &Made) -> Vec<u8> {
    let entry = |digest: &str, size: usize, architecture: &str| {
        format!(
            "{{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"{digest}\",\"size\":{size},\
             \"platform\":{{\"os\":\"linux\",\"architecture\":\"{architecture}\"}}}}"
        )
    };
    let ours = entry(&digest(&made.manifest), made.manifest.len(), machine());
    format!("{{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"manifests\":[{ours}]}}").into_bytes()
}

pub(crate) fn store(at: &Path) -> Arc<Store> {
    Arc::new(Store::open(&at.join("store"), Limits::default()).unwrap())
}

/// Options for a registry on this host.
pub(crate) fn plain(hosts: &[&str]) -> Options {
    Options {
        plain_http: hosts.iter().map(|h| (*h).to_owned()).collect(),
        ..Options::default()
    }
}

pub(crate) fn block<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let bounded = async { tokio::time::timeout(std::time::Duration::from_secs(60), work).await };
    runtime.block_on(bounded).expect("done within a minute")
}

pub(crate) fn get(at: &Path, reference: &str, auth: Auth, options: Options) -> Result<Pulled, PullError> {
    let reference = Reference::parse(reference).unwrap();
    block(qila_image::pull(reference, store(at), auth, options))
}

pub(crate) fn layers(at: &Path) -> usize {
    std::fs::read_dir(at.join("store/layers")).unwrap().count()
}
