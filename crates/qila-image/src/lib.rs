//! OCI image layouts: read, verified by digest, unpacked once into a directory that a sandbox shows read only.
//!
//! Nothing of an image is trusted. Every blob is hashed while it is read, and what was unpacked is used only once every digest
//! agreed. Paths are resolved beneath the new root and never out of it; devices, set-id bits, owners and extended attributes
//! are left out; sizes and numbers are bounded.
#![forbid(unsafe_code)]

mod blob;
mod error;
mod layer;
mod layout;
mod place;
mod store;
mod tar;

pub use error::ImageError;
pub use store::{Image, unpack};
pub use tar::fuzz as fuzz_tar;

/// Most bytes that one image may unpack to.
pub const MAX_BYTES: u64 = 32 << 30;
/// Most entries of all layers together.
pub const MAX_ENTRIES: u64 = 2_000_000;
/// Most layers.
pub const MAX_LAYERS: usize = 256;
