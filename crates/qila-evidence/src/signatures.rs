//! Checking many signatures on all processors: they are nearly all the work where commits are small.
use crate::note::{Unchecked, VerifierKey};
use std::thread::{Builder, available_parallelism, scope};

/// Most checkpoints that wait for their signature to be checked.
pub const MOST: usize = 4096;
/// Fewer than this are not worth a thread.
const FEW: usize = 64;
const THREADS: usize = 16;

/// A checkpoint that agrees with the tree, or came after the tree could be computed.
pub struct Pending {
    pub note: String,
    pub read: Unchecked,
    pub size: u64,
    pub at: u64,
    /// Offset after its frame.
    pub end: u64,
    /// Whether the tree proves its root.
    pub agrees: bool,
}

/// Whether each signature is right.
pub fn check(key: &VerifierKey, pending: &[Pending]) -> Vec<bool> {
    let one = |p: &Pending| key.check(&p.note, &p.read).is_ok();
    let some = |part: &[Pending]| part.iter().map(one).collect::<Vec<bool>>();
    let threads = available_parallelism().map_or(1, usize::from).min(THREADS);
    if threads == 1 || pending.len() < FEW {
        return some(pending);
    }
    let parts: Vec<&[Pending]> = pending.chunks(pending.len().div_ceil(threads)).collect();
    scope(|scope| {
        let start = |part| Builder::new().spawn_scoped(scope, move || some(part)).ok();
        let started: Vec<_> = parts.iter().map(|part| start(*part)).collect();
        let finish = |(thread, part): (Option<std::thread::ScopedJoinHandle<'_, Vec<bool>>>, &&[Pending])| {
            // Where no thread could be had, this one does its part.
            thread
                .and_then(|thread| thread.join().ok())
                .unwrap_or_else(|| some(part))
        };
        started.into_iter().zip(&parts).flat_map(finish).collect()
    })
}
