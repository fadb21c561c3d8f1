//! The append-only Merkle log: writing, recovery, verification, export.
#![forbid(unsafe_code)]
