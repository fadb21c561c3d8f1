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
mod limits;
mod own;
mod place;
mod store;
mod tar;

pub use error::ImageError;
pub use limits::{Limits, MAX_LAYERS};
pub use store::{Image, unpack, unpack_within};
pub use tar::fuzz as fuzz_tar;
