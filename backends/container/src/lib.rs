//! The container tier.
#![forbid(unsafe_code)]
