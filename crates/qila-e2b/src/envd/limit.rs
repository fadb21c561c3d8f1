//! Bounds of what is asked of envd.

/// Longest path in bytes; the kernel's own.
pub(super) const PATH: usize = 4096;
/// Deepest listing.
pub(super) const DEPTH: u32 = 64;
/// Arguments of a program.
pub(super) const ARGUMENTS: usize = 4096;
/// Variables of a program.
pub(super) const VARIABLES: usize = 1024;
/// Longest tag of a program.
pub(super) const TAG: usize = 128;
/// Most lines or columns of a terminal.
pub(super) const SIDE: u32 = 10_000;
/// Files of one upload.
pub(super) const FILES: usize = 1000;
/// Watchers of one sandbox that wait to be asked.
pub(super) const WATCHERS: usize = 64;
/// Events that one of them keeps.
pub(super) const EVENTS: usize = 4096;
/// Bytes that the environment of a sandbox may have to be told.
pub(super) const ENVIRONMENT: usize = 256 << 10;
