//! Limits on what a run may use.
use qila_types::{ByteRate, Bytes, Cpus, Millis};
use serde::Serialize;

/// Limits; none means that the policy sets none.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Resources {
    /// Processor time, in cores.
    pub cpu: Option<Cpus>,
    /// Memory, swap included.
    pub memory: Option<MemoryLimit>,
    /// Processes and threads.
    pub processes: Option<u32>,
    /// Open files of one process.
    pub open_files: Option<u32>,
    /// What may be written: workspace layer, `/tmp`, `/dev/shm` and home together.
    pub disk: Option<DiskLimit>,
    /// Read rate from block devices.
    pub disk_read: Option<ByteRate>,
    /// Write rate to block devices.
    pub disk_write: Option<ByteRate>,
    /// Wall-clock time from start to end.
    pub wall_time: Option<Millis>,
    /// Bytes written to standard output and error together.
    pub output: Option<Bytes>,
}

/// A bound on memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MemoryLimit {
    /// The bound.
    pub bytes: Bytes,
    /// Whether only the kernel's own accounting (a cgroup) will do.
    pub hard: bool,
}

/// A bound on disk use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DiskLimit {
    /// The bound.
    pub bytes: Bytes,
    /// Whether only a bound that the file system itself enforces will do.
    pub hard: bool,
}
