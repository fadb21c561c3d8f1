//! OCI images: pulled from a registry, read from a layout or built from a Dockerfile; verified by digest; each layer unpacked
//! once, into a directory that every image with that layer shares and that sandboxes show read only, laid over one another.
//!
//! Nothing of an image is trusted. Every blob is hashed while it is read, and what was unpacked is used only once every digest
//! agreed. Paths are resolved beneath the new root and never out of it; devices, set-id bits, owners and extended attributes
//! are left out; sizes and numbers are bounded.
#![forbid(unsafe_code)]

mod alone;
mod blob;
mod config;
mod dockerfile;
mod error;
mod layer;
mod layout;
mod limits;
mod lock;
mod merged;
mod own;
mod place;
mod pull;
mod records;
mod shelf;
mod stack;
mod store;
mod sweep;
mod tar;
mod used;
mod zstd;

pub use config::ImageConfig;
pub use dockerfile::{Build, BuildError, Lines, build};
pub use error::ImageError;
pub use limits::{Limits, MAX_LAYERS};
pub use merged::{Image, unpack, unpack_within};
pub use pull::{Auth, Options, Progress, PullError, Pulled, Reference, Watcher, fuzz as fuzz_registry, pull};
pub use stack::{Found, Stack};
pub use store::{Layered, Store};
pub use sweep::Swept;
pub use tar::fuzz as fuzz_tar;
