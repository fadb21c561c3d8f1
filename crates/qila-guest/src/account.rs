//! Memory accounting for hosts where no cgroup can be had.
use alloc::format;
use core::mem::MaybeUninit;
use qila_wire::Accounting;
use rustix::fs::{CWD, Mode, OFlags, RawDir, openat, statvfs};
use rustix::io::Errno;

/// Largest number of processes looked at in one sample; with more, the sample fails.
const MAX_PROCESSES: usize = 65_536;

/// Memory in use now, in bytes: what the processes but the guest hold outside of files, and memory-backed files.
///
/// What processes share counts once for each: the sum can be too high. Files in memory that no mount shows (memfd,
/// System V segments) are in it only while they are mapped, which is why seccomp denies making them where this accounts.
pub(crate) fn sample(accounting: &Accounting) -> Result<u64, Errno> {
    let mut total = 0u64;
    for mount in &accounting.mounts {
        let fs = statvfs(mount.as_slice())?;
        let used = fs.f_blocks.saturating_sub(fs.f_bfree).saturating_mul(fs.f_frsize);
        total = total.saturating_add(used);
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = openat(CWD, c"/proc", flags, Mode::empty())?;
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut entries = RawDir::new(proc, &mut buffer);
    let mut seen = 0usize;
    while let Some(entry) = entries.next() {
        seen += 1;
        if seen > MAX_PROCESSES {
            return Err(Errno::TOOBIG);
        }
        let entry = entry?;
        let Some(pid) = entry
            .file_name()
            .to_str()
            .ok()
            .and_then(|n| n.parse::<u32>().ok())
        else {
            continue;
        };
        if pid != 1 {
            total = total.saturating_add(kibibytes(pid)?.saturating_mul(1024));
        }
    }
    Ok(total)
}

/// Memory of one process in KiB: anonymous, shared without a file, and swapped out. Pages of files belong to the page
/// cache, which the host can take back.
fn kibibytes(pid: u32) -> Result<u64, Errno> {
    let read = || {
        let path = format!("/proc/{pid}/status");
        let fd = openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let mut buffer = [0u8; 4096];
        let n = rustix::io::read(&fd, &mut buffer)?;
        Ok(fields(buffer.get(..n).unwrap_or(&[])))
    };
    match read() {
        Ok(sum) => sum,
        // It ended between the listing and the look.
        Err(Errno::NOENT | Errno::SRCH) => Ok(0),
        Err(e) => Err(e),
    }
}

/// Whether a process is in a process namespace beneath this one: it has a number in each. Only a launcher can make one, for a
/// sandbox with a guest of its own, which accounts for it.
pub(crate) fn is_beneath(status: &[u8]) -> bool {
    let numbers = status
        .split(|b| *b == b'\n')
        .find_map(|l| l.strip_prefix(b"NSpid:"));
    numbers.is_some_and(|n| n.trim_ascii().contains(&b'\t'))
}

/// Adds the three fields up. A process that is ending has none of them, which its first line still shows to be whole.
fn fields(status: &[u8]) -> Result<u64, Errno> {
    if is_beneath(status) {
        return Ok(0);
    }
    let mut sum = 0u64;
    for line in status.split(|b| *b == b'\n') {
        let value = [&b"RssAnon:"[..], b"RssShmem:", b"VmSwap:"]
            .iter()
            .find_map(|name| line.strip_prefix(*name));
        let Some(value) = value else { continue };
        let text = core::str::from_utf8(value).map_err(|_| Errno::PROTO)?;
        let number = text
            .trim()
            .strip_suffix(" kB")
            .and_then(|n| n.parse::<u64>().ok());
        sum = sum.saturating_add(number.ok_or(Errno::PROTO)?);
    }
    if status.starts_with(b"Name:") {
        Ok(sum)
    } else {
        Err(Errno::PROTO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_status_says_is_added_up() {
        let text =
            b"Name:\tx\nRssAnon:\t     100 kB\nRssFile:\t 9000 kB\nRssShmem:\t  20 kB\nVmSwap:\t  3 kB\n";
        assert_eq!(fields(text), Ok(123));
        assert_eq!(fields(b"Name:\tzombie\nState:\tZ\n"), Ok(0));
        assert_eq!(fields(b"Name:\tx\nRssAnon:\t many kB\n"), Err(Errno::PROTO));
        assert_eq!(fields(b""), Err(Errno::PROTO));
        assert_eq!(fields(b"Name:\tx\nNSpid:\t7\nRssAnon:\t 5 kB\n"), Ok(5));
        assert_eq!(fields(b"Name:\tx\nNSpid:\t7\t1\nRssAnon:\t 5 kB\n"), Ok(0));
    }
}
