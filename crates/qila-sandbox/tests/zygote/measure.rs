//! How long a fork takes, and how much memory it costs: `cargo test -p qila-sandbox --test zygote -- measure`.
use crate::bench::{Bench, Served};
use qila_wire::served::Say;
use std::process::Command;
use std::time::Instant;

const ROUNDS: usize = 41;

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// A fork that is ready to run a cell, and has run one.
fn ready(served: &Served, zygote: &crate::bench::Zygote) -> crate::bench::Line {
    let mut exec = served.exec(&["python3"]);
    exec.input = true;
    served.fork(zygote, exec).0
}

pub fn all(bench: &mut Bench) {
    let Some(numpy) = bench.numpy.clone() else {
        println!("skipped: measuring zygotes: run crates/qila-sandbox/tests/zygote/setup.sh first");
        return;
    };
    let (above, zygote) = bench.zygote(&["numpy"]);
    let served = bench.beneath(&above);
    let (mut forks, mut births, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        qila_sys::signal::reset_all().unwrap(); // this one is waited for
        let begun = Instant::now();
        let status = Command::new("/usr/bin/python3")
            .args(["-c", "import numpy"])
            .env("PYTHONPATH", &numpy)
            .status();
        assert!(status.unwrap().success());
        plain.push(begun.elapsed().as_secs_f64() * 1e3);
        qila_sys::signal::ignore(17);
        let begun = Instant::now();
        let line = ready(&served, &zygote);
        forks.push(begun.elapsed().as_secs_f64() * 1e3);
        line.say(&Say::End);
        assert_eq!(line.finish().code, Some(0));
        let begun = Instant::now();
        let other = bench.beneath(&above);
        let line = ready(&other, &zygote);
        births.push(begun.elapsed().as_secs_f64() * 1e3);
        drop(line);
    }
    let (plain, forks, births) = (median(plain), median(forks), median(births));
    println!("python3 -c 'import numpy': {plain:.1} ms");
    println!(
        "a fork ready for a cell: {forks:.2} ms, ratio {:.3}",
        forks / plain
    );
    println!(
        "a new sandbox with a fork ready for a cell: {births:.2} ms, ratio {:.3}",
        births / plain
    );
    drop(served);
    let count: usize = std::env::var("ZYGOTES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(200);
    let (before, charged) = (available(), charged_to(&above));
    let mut all = Vec::new();
    let begun = Instant::now();
    for _ in 0..count {
        let served = bench.beneath(&above);
        let line = ready(&served, &zygote);
        line.say(&Say::Bytes(
            b"{\"code\": \"int(numpy.arange(10).sum())\"}\n".to_vec(),
        ));
        all.push((served, line));
    }
    let took = begun.elapsed();
    std::thread::sleep(std::time::Duration::from_secs(2));
    let after = available();
    let each = before.saturating_sub(after) as f64 / count as f64 / 1024.0;
    println!(
        "{count} sandboxes with a fork in {:.1} s: MemAvailable fell by {each:.2} MiB each",
        took.as_secs_f64()
    );
    if let (Some(before), Some(after)) = (charged, charged_to(&above)) {
        let each = after.saturating_sub(before) / count as u64 / 1024;
        println!("of which {each} KiB each count for the zygote's cgroup");
    }
    let (mut pss, mut uss, mut looked) = (0u64, 0u64, 0u64);
    for (served, _) in all.iter().step_by((count / 50).max(1)) {
        let Ok(namespace) = std::fs::read_link(format!("/proc/{}/ns/pid", served.pid)) else {
            continue;
        };
        for pid in crate::bench::in_namespace(&namespace) {
            let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
            let field = |name: &str| -> u64 {
                let line = text.lines().find_map(|l| l.strip_prefix(name));
                line.and_then(|l| l.split_whitespace().next()?.parse().ok())
                    .unwrap_or(0)
            };
            pss += field("Pss:");
            uss += field("Private_Clean:") + field("Private_Dirty:");
        }
        looked += 1;
    }
    let mib = |kib: u64| kib as f64 / looked.max(1) as f64 / 1024.0;
    println!(
        "of {looked} of them, each: PSS {:.2} MiB, USS {:.2} MiB",
        mib(pss),
        mib(uss)
    );
}

/// `MemAvailable`, in KiB.
fn available() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap();
    let line = text
        .lines()
        .find_map(|l| l.strip_prefix("MemAvailable:"))
        .unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// What counts for a sandbox's memory cgroup, in bytes.
fn charged_to(served: &Served) -> Option<u64> {
    let read = |dir: &String, file: &str| std::fs::read_to_string(format!("{dir}/{file}")).ok();
    let found = served
        .plan
        .cgroup()
        .directories
        .iter()
        .find_map(|dir| read(dir, "memory.usage_in_bytes").or_else(|| read(dir, "memory.current")));
    found?.trim().parse().ok()
}
