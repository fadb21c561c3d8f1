//! Memory accounting for hosts where no cgroup can be had.
use qila_wire::Accounting;
use rustix::fs::{CWD, Mode, OFlags, openat, statvfs};
use std::path::Path;

/// Largest number of processes looked at in one sample; a sandbox with more is bounded by its process limit.
const MAX_PROCESSES: usize = 65_536;

/// Memory in use now, in bytes: resident sets of all processes but the guest, plus memory-backed files.
///
/// Pages shared between processes count once for each: the sum can be too high, never too low.
pub(crate) fn sample(accounting: &Accounting, page: u64) -> u64 {
    let mut total = 0u64;
    for mount in &accounting.mounts {
        if let Ok(fs) = statvfs(Path::new(std::ffi::OsStr::new(&*String::from_utf8_lossy(mount)))) {
            total =
                total.saturating_add((fs.f_blocks.saturating_sub(fs.f_bfree)).saturating_mul(fs.f_frsize));
        }
    }
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return u64::MAX;
    };
    for entry in entries.take(MAX_PROCESSES).flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|n| n.parse::<u32>().ok()) else {
            continue;
        };
        if pid != 1 {
            total = total.saturating_add(resident(pid).saturating_mul(page));
        }
    }
    total
}

/// Anonymous and shared-memory pages of one process: file pages belong to the page cache, which the host can take back.
fn resident(pid: u32) -> u64 {
    let Ok(fd) = openat(
        CWD,
        format!("/proc/{pid}/statm"),
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    ) else {
        return 0;
    };
    let mut buffer = [0u8; 128];
    let n = rustix::io::read(&fd, &mut buffer).unwrap_or(0);
    let text = buffer
        .get(..n)
        .and_then(|b| std::str::from_utf8(b).ok())
        .unwrap_or("");
    let mut fields = text
        .split_ascii_whitespace()
        .skip(1)
        .map(|f| f.parse::<u64>().unwrap_or(0));
    let (resident, file) = (fields.next().unwrap_or(0), fields.next().unwrap_or(0));
    resident.saturating_sub(file)
}
