//! The host's own view of processes, files and mounts.
use crate::outcome::Peak;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Sends SIGKILL to a process, or with a leading `-` to a process group.
pub fn kill(pid: &str) {
    let _ = Command::new("/bin/kill")
        .args(["-KILL", "--", pid])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

/// Pids of processes by their unique name, with their state.
fn of(comm: &str) -> Vec<(u32, char, u64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        let Some((head, tail)) = stat.rsplit_once(')') else {
            continue;
        };
        if head.split_once('(').is_none_or(|(_, name)| name != comm) {
            continue;
        }
        let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
        let state = fields.first().and_then(|s| s.chars().next()).unwrap_or('?');
        let pages = fields.get(21).and_then(|p| p.parse::<u64>().ok()).unwrap_or(0);
        found.push((pid, state, pages));
    }
    found
}

/// Counts now.
pub fn sample(comm: &str) -> Peak {
    let all = of(comm);
    let first = all.first().map(|(pid, ..)| format!("/proc/{pid}/fd"));
    Peak {
        processes: all.len(),
        zombies_at_end: all.iter().filter(|(_, state, _)| *state == 'Z').count(),
        resident_kib: all.iter().map(|(.., pages)| pages * 4).sum(),
        descriptors: first
            .and_then(|dir| fs::read_dir(dir).ok())
            .map_or(0, Iterator::count),
    }
}

/// Waits until none of them remains, for at most `most`; how many do.
pub fn settle(comm: &str, most: Duration) -> usize {
    let end = Instant::now() + most;
    loop {
        let left = of(comm).len();
        if left == 0 || Instant::now() > end {
            return left;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Ends all of them.
pub fn kill_all(comm: &str) {
    for (pid, ..) in of(comm) {
        kill(&pid.to_string());
    }
}

/// Whether any file beneath `dir` holds the bytes.
pub fn holds(dir: &Path, bytes: &[u8]) -> Option<String> {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(meta) = path.symlink_metadata() else {
            continue;
        };
        if meta.is_dir() {
            if let Some(found) = holds(&path, bytes) {
                return Some(found);
            }
        } else if meta.is_file()
            && meta.len() < 64 << 20
            && fs::read(&path).is_ok_and(|all| all.windows(bytes.len()).any(|w| w == bytes))
        {
            return Some(format!("{} holds the secret", path.display()));
        }
    }
    None
}

/// Bytes of disk and number of files beneath a directory.
pub fn usage(dir: &Path) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    let (mut bytes, mut files) = (0, 0);
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(meta) = entry.path().symlink_metadata() else {
            continue;
        };
        bytes += meta.blocks() * 512;
        files += 1;
        if meta.is_dir() {
            let (b, f) = usage(&entry.path());
            bytes += b;
            files += f;
        }
    }
    (bytes, files)
}

/// Names of all things that Qila might leave on the host: mounts, control groups, network namespaces.
pub fn traces(scratch: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let scratch = scratch.to_string_lossy();
    let ours = |line: &&str| line.contains("qila") || line.contains(scratch.as_ref());
    found.extend(mounts.lines().filter(ours).map(|l| format!("mount {l}")));
    groups(Path::new("/sys/fs/cgroup"), 0, &mut found);
    for entry in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        found.push(format!("namespace {}", entry.file_name().to_string_lossy()));
    }
    found
}

fn groups(dir: &Path, depth: usize, found: &mut Vec<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if !path.symlink_metadata().is_ok_and(|m| m.is_dir()) {
            continue;
        }
        if entry.file_name().to_string_lossy().contains("qila") {
            found.push(format!("control group {}", path.display()));
        }
        if depth < 6 {
            groups(&path, depth + 1, found);
        }
    }
}

/// Values of the kernel's knobs, put back when dropped: an attack that works must not leave the host changed.
#[derive(Debug)]
pub struct Knobs(Vec<(String, String)>);

impl Knobs {
    /// Remembers the values of those that can be read.
    pub fn remember(paths: &[String]) -> Knobs {
        Knobs(
            paths
                .iter()
                .filter_map(|p| Some((p.clone(), fs::read_to_string(p).ok()?)))
                .collect(),
        )
    }
}

impl Drop for Knobs {
    fn drop(&mut self) {
        for (path, was) in &self.0 {
            if fs::read_to_string(path).is_ok_and(|now| now != *was) {
                let _ = fs::write(path, was);
            }
        }
    }
}
