//! What a sandbox uses.
use crate::clock::now_ms;
use crate::guest;
use crate::live::Live;
use crate::record::Phase;
use qila_api::{Metrics, Result};
use qila_wire::served::{Answer, Ask, Usage};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// How long a busy guest may take to say what it uses.
const ANSWER: Duration = Duration::from_secs(2);

/// What it uses now.
pub(crate) async fn of(live: &Live) -> Result<Metrics> {
    let record = live.record();
    let cgroup = &record.cgroup;
    let read = |path: &Option<String>| -> Option<u64> {
        let text = std::fs::read_to_string(path.as_deref()?).ok()?;
        text.trim().parse().ok()
    };
    let usage = match record.phase {
        Phase::Running => match tokio::time::timeout(ANSWER, guest::request(&live.dir, &Ask::Usage)).await {
            Ok(Ok((_, Answer::Usage(usage)))) => usage,
            _ => Usage::default(),
        },
        Phase::Paused => Usage::default(),
    };
    let cpu_us = crate::watch::cpu_us(cgroup).unwrap_or(usage.cpu_ms.saturating_mul(1000));
    let cpus = f64::from(record.cpu_milli) / 1000.0;
    let now = Instant::now();
    let mut before = live.measured.lock().unwrap_or_else(PoisonError::into_inner);
    let percent = match *before {
        Some((then, used)) => {
            let passed = now.duration_since(then).as_micros().max(1) as f64;
            cpu_us.saturating_sub(used) as f64 / passed / cpus.max(0.001) * 100.0
        }
        None => 0.0,
    };
    *before = Some((now, cpu_us));
    drop(before);
    let layer = live.disk.lock().unwrap_or_else(PoisonError::into_inner).used;
    Ok(Metrics {
        time_ms: now_ms(),
        cpu_count: record.cpu_milli.div_ceil(1000),
        cpu_percent: percent,
        memory_used: read(&cgroup.used).or(usage.memory).unwrap_or(0),
        memory_total: record.memory_mib << 20,
        disk_used: layer.saturating_add(usage.scratch),
        disk_total: record.disk_mib << 20,
    })
}
