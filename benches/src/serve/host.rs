//! What the host shows: memory that is left, and what processes hold.
use std::collections::HashSet;
use std::fs::{read_dir, read_to_string};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

fn number(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|l| l.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// MiB that programs could still have.
pub fn available() -> Result<f64, String> {
    let text = read_to_string("/proc/meminfo").map_err(|e| e.to_string())?;
    number(&text, "MemAvailable:")
        .map(|kib| kib / 1024.0)
        .ok_or_else(|| "no MemAvailable".to_owned())
}

/// MiB of the disk of `folder` that the files beneath it take, each counted once.
pub fn disk(folder: &Path) -> Result<f64, String> {
    let text = |e: std::io::Error| format!("{}: {e}", folder.display());
    let device = std::fs::symlink_metadata(folder).map_err(text)?.dev();
    let (mut left, mut seen, mut blocks) = (vec![folder.to_owned()], HashSet::new(), 0_u64);
    while let Some(one) = left.pop() {
        // What is removed meanwhile takes nothing.
        let Ok(data) = std::fs::symlink_metadata(&one) else {
            continue;
        };
        if data.dev() != device || !seen.insert(data.ino()) {
            continue;
        }
        blocks += data.blocks();
        if data.is_dir() {
            left.extend(read_dir(&one).into_iter().flatten().flatten().map(|e| e.path()));
        }
    }
    Ok(blocks as f64 / 2048.0)
}

/// A process and its children, whose own children do not count: the daemon and its launcher, without the guests; MiB resident.
pub fn resident(pid: u32) -> Result<f64, String> {
    let of = |pid: &str| {
        let text = read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        number(&text, "VmRSS:").unwrap_or(0.0) / 1024.0
    };
    let children = children(pid)?;
    Ok(of(&pid.to_string()) + children.iter().map(|c| of(c)).sum::<f64>())
}

/// Proportional share of memory of everything beneath the daemon's launcher, MiB.
pub fn guests(pid: u32) -> Result<f64, String> {
    let mut sum = 0.0;
    for launcher in children(pid)? {
        for guest in children(launcher.parse().map_err(|_| "no number")?)? {
            let text = read_to_string(format!("/proc/{guest}/smaps_rollup")).unwrap_or_default();
            sum += number(&text, "Pss:").unwrap_or(0.0) / 1024.0;
        }
    }
    Ok(sum)
}

fn children(pid: u32) -> Result<Vec<String>, String> {
    let tasks = read_dir(format!("/proc/{pid}/task")).map_err(|e| e.to_string())?;
    let mut all = Vec::new();
    for task in tasks.flatten() {
        let text = read_to_string(task.path().join("children")).unwrap_or_default();
        all.extend(text.split_whitespace().map(str::to_owned));
    }
    Ok(all)
}
