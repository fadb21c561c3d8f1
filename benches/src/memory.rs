//! Peak memory of Qila's own processes while one sandbox runs.
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;

use crate::qila::Qila;
use crate::relay;
use crate::report::{Missing, Row, Target};
use crate::scratch::Scratch;
use crate::stats::Samples;

/// What one look at `/proc` found, in KiB.
#[derive(Debug, Default, Clone, Copy)]
struct Sample {
    pss: u64,
    rss: u64,
    high_water: u64,
    processes: u64,
}

/// Measures with and without the gateway: the median of so many runs' peaks.
pub fn rows(scratch: &Scratch, qila: &Result<Qila, Missing>, runs: usize) -> Vec<Row> {
    [
        ("without gateway", 4.0),
        ("with gateway and one credential", 12.0),
    ]
    .into_iter()
    .map(|(name, limit)| {
        let title = format!("peak memory of Qila's own processes, {name}");
        let target = Target::AtMost(limit);
        let peaks = qila.as_ref().map_err(Clone::clone).and_then(|qila| {
            (0..runs)
                .map(|_| peak(scratch, qila, limit > 4.0))
                .collect::<Result<Vec<Sample>, Missing>>()
        });
        match peaks {
            Ok(peaks) => {
                let of =
                    |what: fn(&Sample) -> u64| Samples(peaks.iter().map(|peak| what(peak) as f64).collect());
                let pss = of(|peak| peak.pss);
                let detail = json!({"pss_kib": pss.summary(), "rss_kib": of(|peak| peak.rss).summary(),
                                        "sum_of_vmhwm_kib": of(|peak| peak.high_water).summary(),
                                        "processes": of(|peak| peak.processes).summary()});
                Row::measured(title, target, "MiB", pss.median() / 1024.0, detail)
                    .with_tail(pss.percentile(0.95) / 1024.0)
            }
            Err(missing) => Row::without(title, target, "MiB", missing),
        }
    })
    .collect()
}

/// Watches one run; the agent and what it starts do not count.
fn peak(scratch: &Scratch, qila: &Qila, gateway: bool) -> Result<Sample, Missing> {
    let workspace = scratch.sub("empty")?;
    let options = if gateway {
        let upstream = relay::source(0).map_err(|error| error.to_string())?;
        qila.with_gateway(scratch, upstream)?.to_vec()
    } else {
        ["--policy", "offline", "--isolation", "container"]
            .map(str::to_owned)
            .to_vec()
    };
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let program = qila.run("memory", &workspace, &options, &["sleep", "0.5"]);
    let mut command = program.command();
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let mut peak = Sample::default();
    let status = loop {
        let seen = look(child.id());
        peak.pss = peak.pss.max(seen.pss);
        peak.rss = peak.rss.max(seen.rss);
        peak.high_water = peak.high_water.max(seen.high_water);
        peak.processes = peak.processes.max(seen.processes);
        match child.try_wait() {
            Ok(None) => std::thread::sleep(Duration::from_millis(5)),
            Ok(Some(status)) => break status,
            Err(error) => return Err(error.to_string().into()),
        }
    };
    if !status.success() {
        return Err(format!("`{}` ended with {status}", program.words.join(" ")).into());
    }
    if peak.pss == 0 {
        return Err(Missing::Absent("smaps_rollup cannot be read here".to_owned()));
    }
    Ok(peak)
}

fn look(root: u32) -> Sample {
    let mut total = Sample::default();
    for pid in tree(root, &processes()) {
        let folder = Path::new("/proc").join(pid.to_string());
        let rollup = std::fs::read_to_string(folder.join("smaps_rollup")).unwrap_or_default();
        let status = std::fs::read_to_string(folder.join("status")).unwrap_or_default();
        total.pss += field(&rollup, "Pss:");
        total.rss += field(&rollup, "Rss:");
        total.high_water += field(&status, "VmHWM:");
        total.processes += 1;
    }
    total
}

/// Resident KiB of a process and its descendants, without the program of that name. Readable whoever owns them.
pub fn resident(root: u32, without: &str) -> u64 {
    let all = processes();
    let named = |pid: u32| all.iter().any(|(at, _, name)| *at == pid && name == without);
    let status = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    tree(root, &all)
        .into_iter()
        .filter(|pid| !named(*pid))
        .map(|pid| field(&status(pid), "VmRSS:"))
        .sum()
}

/// Every process as (pid, parent, name).
fn processes() -> Vec<(u32, u32, String)> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: u32| parse(pid, &std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?))
        .collect()
}

/// Reads `/proc/PID/stat`: the name stands in brackets and may hold anything, brackets too.
fn parse(pid: u32, stat: &str) -> Option<(u32, u32, String)> {
    let (head, rest) = stat.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    Some((
        pid,
        rest.split_whitespace().nth(1)?.parse().ok()?,
        name.to_owned(),
    ))
}

/// The process and its descendants, without the agent (`sleep`) and what is below it.
fn tree(root: u32, all: &[(u32, u32, String)]) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        next += 1;
        for (pid, above, name) in all {
            if *above == parent && name != "sleep" && !found.contains(pid) {
                found.push(*pid);
            }
        }
    }
    found
}

fn field(text: &str, name: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value
        .and_then(|value| value.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_and_strangers_do_not_count() {
        let table = [
            (2, 1, "guest"),
            (3, 2, "sleep"),
            (4, 3, "child"),
            (5, 1, "gateway"),
            (9, 8, "stranger"),
        ];
        let table = table.map(|(pid, above, name)| (pid, above, name.to_owned()));
        assert_eq!(tree(1, &table), [1, 2, 5]);
    }

    #[test]
    fn names_with_brackets_are_read_right() {
        assert_eq!(parse(7, "7 (a) (b)) S 3 7 7"), Some((7, 3, "a) (b)".to_owned())));
        assert_eq!(parse(7, "garbage"), None);
    }

    #[test]
    fn own_memory_is_seen() {
        let seen = look(std::process::id());
        assert!(seen.rss > 0 && seen.high_water >= 100, "{seen:?}");
    }
}
