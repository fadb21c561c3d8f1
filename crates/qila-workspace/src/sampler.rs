//! Watches what a layer takes on disk without walking it at every look.
use crate::{Room, Usage, usage};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use std::time::{Duration, Instant};

/// Time after which the layer is walked whatever the file system says: others may free as much as the agent takes.
const AT_MOST: Duration = Duration::from_secs(1);
/// The same where the file system does not count files, so that a flood of empty ones takes nothing that it tells of.
const UNCOUNTED: Duration = Duration::from_millis(100);
/// Walking takes no more than one part in so many of the time.
const PART: u32 = 10;

/// Samples the usage of a directory against a limit in bytes.
///
/// One `fstatvfs` per look. The tree is walked only when its file system has lost a quarter of what was left below the
/// limit since the last walk, in blocks or in inodes, and once a second.
#[derive(Debug)]
pub struct DiskSampler {
    dir: OwnedFd,
    limit: u64,
    last: Usage,
    room: Room,
    walked: Instant,
    took: Duration,
}

impl DiskSampler {
    /// Starts with a walk.
    pub fn new(dir: impl AsFd, limit: u64) -> Result<DiskSampler, Errno> {
        let mut sampler = DiskSampler {
            dir: dir.as_fd().try_clone_to_owned().map_err(|_| Errno::MFILE)?,
            limit,
            last: Usage::default(),
            room: Room::default(),
            walked: Instant::now(),
            took: Duration::ZERO,
        };
        sampler.walk()?;
        Ok(sampler)
    }

    /// The usage as of this look, or as of the last walk where it cannot have come near the limit since.
    pub fn sample(&mut self) -> Result<Usage, Errno> {
        let taken = Room::of(&self.dir)?.taken_since(&self.room);
        let left = self.limit.saturating_sub(self.last.charged());
        let at_most = match self.room.counts_inodes() {
            true => AT_MOST,
            false => UNCOUNTED.max(self.took.saturating_mul(PART)).min(AT_MOST),
        };
        if self.walked.elapsed() >= at_most || taken >= left / 4 || self.last.exceeded {
            self.walk()?;
        }
        Ok(self.last)
    }

    /// The usage as it is: a walk.
    pub fn walk(&mut self) -> Result<Usage, Errno> {
        // What is taken while it is walked counts for the next look.
        let (room, begun) = (Room::of(&self.dir)?, Instant::now());
        self.last = usage(&self.dir, Some(self.limit))?;
        self.room = room;
        self.walked = Instant::now();
        self.took = begun.elapsed();
        Ok(self.last)
    }
}
