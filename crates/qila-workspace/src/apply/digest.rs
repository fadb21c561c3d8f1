//! A digest over what was applied, for the evidence log.
use super::stage::Staged;
use crate::change::to_hex;
use crate::{Change, Node, NodeKind};
use sha2::{Digest, Sha256};
use std::os::unix::ffi::OsStrExt;

/// SHA-256, in hexadecimal, over `qila-apply-1\n` and then for each change in path order:
/// length (8 bytes, little endian) and bytes of the path; a letter for what is there now (`f`ile, `d`irectory, `l`ink,
/// `x` gone, `m`ode only); its mode (4 bytes, little endian) and, for a file its SHA-256, for a link its target with
/// length before it.
pub(super) fn of(changes: &[Change], staged: &[Staged]) -> String {
    let mut hash = Sha256::new();
    hash.update(b"qila-apply-1\n");
    for (change, staged) in changes.iter().zip(staged) {
        sized(&mut hash, change.path.as_os_str().as_bytes());
        let mode = change.after.as_ref().map_or(0, |n| n.mode).to_le_bytes();
        hash.update([letter(change.after.as_ref(), staged)]);
        hash.update(mode);
        match (&change.after, &staged.hash) {
            (_, Some(content)) => hash.update(content),
            (
                Some(Node {
                    target: Some(target), ..
                }),
                None,
            ) => sized(&mut hash, target.as_bytes()),
            _ => {}
        }
    }
    to_hex(&hash.finalize())
}

fn letter(after: Option<&Node>, staged: &Staged) -> u8 {
    match after.map(|n| n.kind) {
        None => b'x',
        Some(_) if staged.seal.is_none() => b'm',
        Some(NodeKind::Directory) => b'd',
        Some(NodeKind::Symlink) => b'l',
        Some(_) => b'f',
    }
}

fn sized(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}
