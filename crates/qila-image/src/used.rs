//! What the layers of an image have used of its limits.
use crate::error::ImageError;
use crate::limits::Limits;
use serde::{Deserialize, Serialize};

/// What all layers of an image have used, and may.
#[derive(Debug, Clone)]
pub(crate) struct Used {
    pub limits: Limits,
    pub bytes: u64,
    pub entries: u64,
    /// Bytes that may still be read from layers.
    pub left: u64,
    /// Devices, fifos and sockets, which are not made.
    pub skipped: u64,
}

/// What one layer has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Share {
    bytes: u64,
    entries: u64,
    read: u64,
    skipped: u64,
}

impl Used {
    pub(crate) fn new(limits: &Limits) -> Used {
        Used {
            limits: *limits,
            bytes: 0,
            entries: 0,
            left: limits.bytes.saturating_mul(2),
            skipped: 0,
        }
    }

    /// What was used between `before` and now.
    pub(crate) fn since(&self, before: &Used) -> Share {
        Share {
            bytes: self.bytes - before.bytes,
            entries: self.entries - before.entries,
            read: before.left - self.left,
            skipped: self.skipped - before.skipped,
        }
    }

    /// Counts a layer that was unpacked before as if it had been now.
    pub(crate) fn add(&mut self, share: &Share, number: usize) -> Result<(), ImageError> {
        let over = |why: String| ImageError::Entry {
            layer: number,
            path: "-".into(),
            why,
        };
        self.bytes = self.bytes.saturating_add(share.bytes);
        self.entries = self.entries.saturating_add(share.entries);
        if self.bytes > self.limits.bytes {
            return Err(over(more_bytes(self.limits.bytes)));
        }
        if self.entries > self.limits.entries {
            return Err(over(more_entries(self.limits.entries)));
        }
        let left = self.left.checked_sub(share.read);
        self.left = left.ok_or_else(|| over("the image's layers decompress to too much".into()))?;
        Ok(())
    }
}

pub(crate) fn more_bytes(most: u64) -> String {
    format!("the image unpacks to more than {most} bytes")
}

pub(crate) fn more_entries(most: u64) -> String {
    format!("more than {most} entries")
}
