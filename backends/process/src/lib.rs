//! The process tier.
#![forbid(unsafe_code)]
