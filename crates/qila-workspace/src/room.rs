//! What a file system has left: in bytes, and in files.
use rustix::fd::AsFd;
use rustix::fs::fstatvfs;
use rustix::io::Errno;

/// Bytes charged for each file, directory and link beside its blocks: an empty one takes an inode of the host.
pub(crate) const INODE: u64 = 1024;

/// What was free at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Room {
    bytes: u64,
    inodes: u64,
    counts_inodes: bool,
}

impl Room {
    /// What the file system that this lies on has left now.
    pub fn of(file: impl AsFd) -> Result<Room, Errno> {
        let stat = fstatvfs(file)?;
        Ok(Room {
            bytes: stat.f_bfree.saturating_mul(stat.f_frsize),
            inodes: stat.f_ffree,
            counts_inodes: stat.f_files > 0,
        })
    }

    /// Bytes that were taken since an earlier moment, each file charged as in [`crate::Usage::charged`]. Some file systems do not
    /// count files: there those take nothing here.
    #[must_use]
    pub fn taken_since(&self, earlier: &Room) -> u64 {
        let inodes = earlier.inodes.saturating_sub(self.inodes);
        let bytes = earlier.bytes.saturating_sub(self.bytes);
        bytes.saturating_add(inodes.saturating_mul(INODE))
    }

    /// Whether the file system counts files.
    #[must_use]
    pub fn counts_inodes(&self) -> bool {
        self.counts_inodes
    }
}
