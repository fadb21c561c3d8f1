//! Watches what a layer takes on disk without walking it at every look.
use crate::{Usage, usage};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::fstatvfs;
use rustix::io::Errno;
use std::time::{Duration, Instant};

/// Time after which the layer is walked whatever the file system says: others may free as much as the agent takes.
const AT_MOST: Duration = Duration::from_secs(1);

/// Samples the usage of a directory against a limit in bytes.
///
/// One `fstatvfs` per look. The tree is walked only when its file system has lost a quarter of what was left below the
/// limit since the last walk, and once a second.
#[derive(Debug)]
pub struct DiskSampler {
    dir: OwnedFd,
    limit: u64,
    last: Usage,
    free: u64,
    walked: Instant,
}

impl DiskSampler {
    /// Starts with a walk.
    pub fn new(dir: impl AsFd, limit: u64) -> Result<DiskSampler, Errno> {
        let mut sampler = DiskSampler {
            dir: dir.as_fd().try_clone_to_owned().map_err(|_| Errno::MFILE)?,
            limit,
            last: Usage::default(),
            free: 0,
            walked: Instant::now(),
        };
        sampler.walk(sampler.free_now()?)?;
        Ok(sampler)
    }

    /// The usage as of this look, or as of the last walk where it cannot have come near the limit since.
    pub fn sample(&mut self) -> Result<Usage, Errno> {
        let free = self.free_now()?;
        let lost = self.free.saturating_sub(free);
        let room = self.limit.saturating_sub(self.last.bytes);
        if self.walked.elapsed() >= AT_MOST || lost >= room / 4 || self.last.exceeded {
            self.walk(free)?;
        }
        Ok(self.last)
    }

    fn free_now(&self) -> Result<u64, Errno> {
        let stat = fstatvfs(&self.dir)?;
        Ok(stat.f_bfree.saturating_mul(stat.f_frsize))
    }

    fn walk(&mut self, free: u64) -> Result<(), Errno> {
        self.last = usage(&self.dir, Some(self.limit))?;
        self.free = free;
        self.walked = Instant::now();
        Ok(())
    }
}
