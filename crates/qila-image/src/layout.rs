//! Which image of a layout is meant, and which layers it has.
use crate::MAX_LAYERS;
use crate::blob::{Blob, Descriptor, open};
use crate::error::ImageError;
use rustix::fd::OwnedFd;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::HashSet;
use std::io::Read;

/// Largest document in bytes.
pub(crate) const MAX_DOCUMENT: u64 = 4 << 20;
/// Deepest nesting of indexes.
const MAX_DEPTH: usize = 4;
const REF_NAME: &str = "org.opencontainers.image.ref.name";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    image_layout_version: String,
}

/// A list of images, or of lists.
#[derive(Deserialize)]
pub(crate) struct Index {
    #[serde(default)]
    pub manifests: Vec<Descriptor>,
}

/// What an image is made of.
#[derive(Debug, Deserialize)]
pub(crate) struct Manifest {
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
}

pub(crate) fn parse<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, ImageError> {
    serde_json::from_slice(bytes).map_err(|e| ImageError::format(what, e.to_string()))
}

impl Manifest {
    /// Reads what has this digest.
    pub(crate) fn parse(digest: &str, bytes: &[u8]) -> Result<Manifest, ImageError> {
        let manifest: Manifest = parse(digest, bytes)?;
        if manifest.layers.len() > MAX_LAYERS {
            return Err(ImageError::format(
                digest,
                format!("more than {MAX_LAYERS} layers"),
            ));
        }
        Ok(manifest)
    }
}

fn file<T: DeserializeOwned>(layout: &OwnedFd, name: &str) -> Result<T, ImageError> {
    let mut bytes = Vec::new();
    open(layout, name)?
        .take(MAX_DOCUMENT)
        .read_to_end(&mut bytes)
        .map_err(ImageError::io(name))?;
    parse(name, &bytes)
}

/// The name of this machine's processor, as images name it.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// An image's own words, as a terminal can be shown them.
pub(crate) fn quoted(text: &str) -> String {
    text.escape_debug().take(100).collect()
}

/// Finds the one image for this machine, of a name if one is given.
pub(crate) fn manifest(layout: &OwnedFd, name: Option<&str>) -> Result<(Descriptor, Manifest), ImageError> {
    let version: Version = file(layout, "oci-layout")?;
    if !version.image_layout_version.starts_with("1.") {
        return Err(ImageError::format("oci-layout", "only version 1 is read"));
    }
    let mut level: Vec<Descriptor> = file::<Index>(layout, "index.json")?.manifests;
    if let Some(name) = name {
        level.retain(|d| d.annotations.get(REF_NAME).is_some_and(|n| n == name));
        if level.is_empty() {
            return Err(ImageError::NoImage(format!(
                "the layout has no image named `{name}`"
            )));
        }
    }
    for _ in 0..MAX_DEPTH {
        level.retain(|d| {
            d.platform
                .as_ref()
                .is_none_or(|p| p.os == "linux" && p.architecture == architecture())
        });
        // The same image under two names is one.
        let mut digests = HashSet::new();
        level.retain(|d| digests.insert(d.digest.clone()));
        let found = match level.as_slice() {
            [] => {
                return Err(ImageError::NoImage(format!(
                    "the layout has no image for linux/{}",
                    architecture()
                )));
            }
            [one] => one.clone(),
            _ => {
                let names = level.iter().filter_map(|d| d.annotations.get(REF_NAME));
                let names: Vec<String> = names.take(20).map(|n| quoted(n)).collect();
                let why = format!(
                    "the layout has several images ({}): write PATH:NAME",
                    names.join(", ")
                );
                return Err(ImageError::NoImage(why));
            }
        };
        let bytes = Blob::small(layout, &found, MAX_DOCUMENT)?;
        if found.media_type.contains("index") || found.media_type.contains("manifest.list") {
            level = parse::<Index>(&found.digest, &bytes)?.manifests;
            continue;
        }
        let manifest = Manifest::parse(&found.digest, &bytes)?;
        return Ok((found, manifest));
    }
    Err(ImageError::format(
        "index.json",
        "indexes within indexes without end",
    ))
}
