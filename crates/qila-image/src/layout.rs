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
const MAX_DOCUMENT: u64 = 4 << 20;
/// Longest `PATH` in bytes.
const MAX_PATH: usize = 4096;
/// Deepest nesting of indexes.
const MAX_DEPTH: usize = 4;
const REF_NAME: &str = "org.opencontainers.image.ref.name";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    image_layout_version: String,
}

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

/// What an image is made of.
#[derive(Debug, Deserialize)]
pub(crate) struct Manifest {
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
}

/// What an image says of itself; its user, its command and its working directory are not asked for.
#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    config: Option<Run>,
}

#[derive(Deserialize, Default)]
struct Run {
    #[serde(rename = "Env", default)]
    env: Option<Vec<String>>,
}

fn parse<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, ImageError> {
    serde_json::from_slice(bytes).map_err(|e| ImageError::format(what, e.to_string()))
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
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Verifies an image's configuration: it is for this machine. Its `PATH`, if it has one.
pub(crate) fn path(layout: &OwnedFd, manifest: &Manifest) -> Result<Option<String>, ImageError> {
    let bytes = Blob::small(layout, &manifest.config, MAX_DOCUMENT)?;
    let config: Config = parse(&manifest.config.digest, &bytes)?;
    let here = ["linux", architecture()];
    if [&config.os, &config.architecture]
        .iter()
        .zip(here)
        .any(|(said, here)| !said.is_empty() && *said != here)
    {
        return Err(ImageError::NoImage(format!(
            "the image is for {}/{}, not for {}",
            quoted(&config.os),
            quoted(&config.architecture),
            here.join("/")
        )));
    }
    let env = config.config.unwrap_or_default().env.unwrap_or_default();
    let path = env.iter().find_map(|v| v.strip_prefix("PATH="));
    Ok(path
        .filter(|p| !p.is_empty() && p.len() <= MAX_PATH && !p.contains('\0'))
        .map(str::to_owned))
}

/// An image's own words, as a terminal can be shown them.
fn quoted(text: &str) -> String {
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
        let manifest: Manifest = parse(&found.digest, &bytes)?;
        if manifest.layers.len() > MAX_LAYERS {
            return Err(ImageError::format(
                &found.digest,
                format!("more than {MAX_LAYERS} layers"),
            ));
        }
        return Ok((found, manifest));
    }
    Err(ImageError::format(
        "index.json",
        "indexes within indexes without end",
    ))
}
