//! The copy-on-write workspace layer: diff, apply, discard.
#![forbid(unsafe_code)]
