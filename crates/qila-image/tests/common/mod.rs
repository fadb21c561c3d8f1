//! Layouts made by code, good and bad.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: a failure here is the test's"
)]
use qila_image::{Limits, Stack, Store};
use sha2::{Digest, Sha256};
use std::io::Write;
use std::path::{Path, PathBuf};

/// One entry: path, type flag, link target, mode, contents.
pub type Item<'a> = (&'a [u8], u8, &'a [u8], u32, &'a [u8]);

pub fn header(path: &[u8], flag: u8, link: &[u8], mode: u32, size: usize) -> [u8; 512] {
    let mut block = [0u8; 512];
    block[..path.len().min(100)].copy_from_slice(&path[..path.len().min(100)]);
    block[100..107].copy_from_slice(format!("{mode:07o}").as_bytes());
    block[108..115].copy_from_slice(b"0000000");
    block[116..123].copy_from_slice(b"0000000");
    block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    block[136..147].copy_from_slice(b"00000000000");
    block[156] = flag;
    block[157..157 + link.len()].copy_from_slice(link);
    block[257..263].copy_from_slice(b"ustar\0");
    seal(&mut block);
    block
}

pub fn seal(block: &mut [u8; 512]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
}

pub fn tar(items: &[Item<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for (path, flag, link, mode, body) in items {
        out.extend(header(path, *flag, link, *mode, body.len()));
        out.extend(*body);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.extend([0; 1024]);
    out
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

/// Writes a blob; its descriptor, not closed.
pub fn put(dir: &Path, bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
    std::fs::write(dir.join("blobs/sha256").join(&hex), bytes).unwrap();
    format!("{{\"digest\":\"sha256:{hex}\",\"size\":{}", bytes.len())
}

/// What images for this machine call it.
pub fn machine() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Writes a layout with one image of these layers: media type and bytes.
pub fn layout(dir: &Path, layers: &[(&str, Vec<u8>)]) -> PathBuf {
    let config = format!("{{\"os\":\"linux\",\"architecture\":\"{}\"}}", machine());
    layout_of(dir, &config, layers)
}

/// The same, of an image with this configuration.
pub fn layout_of(dir: &Path, config: &str, layers: &[(&str, Vec<u8>)]) -> PathBuf {
    let at = dir.join("layout");
    std::fs::create_dir_all(at.join("blobs/sha256")).unwrap();
    let manifest = format!("{},{MANIFEST}", image(&at, config, layers));
    index(&at, &[format!("{manifest},{ONE}}}")]);
    at
}

/// The media type of a manifest, as a field.
pub const MANIFEST: &str = "\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\"";
/// The name `one`, as a field.
pub const ONE: &str = "\"annotations\":{\"org.opencontainers.image.ref.name\":\"one\"}";

/// Writes the index of a layout.
pub fn index(at: &Path, manifests: &[String]) {
    let index = format!("{{\"manifests\":[{}]}}", manifests.join(","));
    std::fs::write(at.join("index.json"), index).unwrap();
    std::fs::write(at.join("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}").unwrap();
}

/// Writes the blobs of an image; its descriptor, not closed.
pub fn image(at: &Path, config: &str, layers: &[(&str, Vec<u8>)]) -> String {
    let kind = "application/vnd.oci.image.layer.v1.";
    let layers: Vec<String> = layers
        .iter()
        .map(|(media, bytes)| format!("{},\"mediaType\":\"{kind}{media}\"}}", put(at, bytes)))
        .collect();
    let config = put(at, config.as_bytes());
    let manifest = format!(
        "{{\"schemaVersion\":2,\"config\":{config}}},\"layers\":[{}]}}",
        layers.join(",")
    );
    put(at, manifest.as_bytes())
}

/// The store of a place.
pub fn store(at: &Path) -> Store {
    Store::open(&at.join("store"), Limits::default()).unwrap()
}

/// What is at each of these places, as text.
pub fn seen(stack: &[PathBuf], places: &[String]) -> Vec<String> {
    let stack = Stack::open(stack).unwrap();
    let look = |place: &String| match stack.find(Path::new(place), false) {
        Ok(Some(f)) if f.kind.is_symlink() => format!("{place}: link {:?} to {:?}", f.path, f.link),
        Ok(Some(f)) => format!("{place}: {:?} {:?} {:o}", f.path, f.kind, f.mode),
        Ok(None) => format!("{place}: none"),
        Err(e) => format!("{place}: {e}"),
    };
    places.iter().map(look).collect()
}
