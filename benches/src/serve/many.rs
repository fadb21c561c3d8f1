//! Many sandboxes: how fast they come, what they cost while they do nothing, and what they do to the next one.
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::daemon::Daemon;
use super::{host, latency};
use crate::report::{Row, Target};
use crate::stats::{Ratio, Samples};

/// Requests at once.
const AT_ONCE: usize = 20;

/// Makes so many, so many at once; milliseconds of each, and seconds of all.
fn make(daemon: &Daemon, n: usize, at_once: usize, run: bool) -> Result<(Samples, f64), String> {
    let left = AtomicUsize::new(n);
    let begun = Instant::now();
    let lists = std::thread::scope(|scope| {
        let one = || -> Result<Vec<f64>, String> {
            let mut client = daemon.client()?;
            let mut took = Vec::new();
            while left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
                .is_ok()
            {
                let begun = Instant::now();
                let id = client.create(&json!({}))?;
                if run {
                    client.run_true(&id)?;
                }
                took.push(begun.elapsed().as_secs_f64() * 1e3);
            }
            Ok(took)
        };
        let work: Vec<_> = (0..at_once).map(|_| scope.spawn(one)).collect();
        let failed = |_| Err("a thread failed".to_owned());
        work.into_iter()
            .map(|w| w.join().unwrap_or_else(failed))
            .collect::<Result<Vec<_>, String>>()
    })?;
    Ok((Samples(lists.concat()), begun.elapsed().as_secs_f64()))
}

/// A hundred at once, each with the network of the base template and each having run something.
pub fn fan_out(daemon: &Daemon, runs: usize) -> Result<Vec<Row>, String> {
    let mut samples = Samples::default();
    for _ in 0..runs.max(3) {
        let (_, seconds) = make(daemon, 100, AT_ONCE, true)?;
        samples.0.push(seconds * 1e3);
        daemon.end_all()?;
    }
    Ok(vec![latency(
        "100 networked sandboxes fanned out, each having run `true`",
        300.0,
        &samples,
    )])
}

/// Milliseconds of making one, beside those that are there.
fn beside(daemon: &Daemon, runs: usize) -> Result<Samples, String> {
    let mut client = daemon.client()?;
    let mut samples = Samples::default();
    for _ in 0..runs {
        let begun = Instant::now();
        let id = client.create(&json!({}))?;
        samples.0.push(begun.elapsed().as_secs_f64() * 1e3);
        client.end(&id)?;
    }
    Ok(samples)
}

/// Up to so many, and what that means.
pub fn rows(daemon: &Daemon, many: usize, runs: usize) -> Result<Vec<Row>, String> {
    daemon.end_all()?;
    make(daemon, 10, 1, false)?;
    let few = beside(daemon, runs)?;
    daemon.end_all()?;
    let settle = || std::thread::sleep(Duration::from_secs(2));
    settle();
    let before = host::available()?;
    let (each, seconds) = make(daemon, many, AT_ONCE, false)?;
    settle();
    let after = host::available()?;
    let count = many as f64;
    let pss = host::guests(daemon.pid())? / count;
    let resident = host::resident(daemon.pid())?;
    let crowd = beside(daemon, runs)?;
    daemon.end_all()?;
    let per_second = count / seconds;
    let rate = format!("creates per second at concurrency {AT_ONCE}, sustained over {many}");
    let detail = each.summary();
    let p95 = each.percentile(0.95);
    let memory = format!("{many} idle sandboxes at once: host memory each (MemAvailable)");
    let ratio = Ratio::new(&crowd, &few);
    let title = format!("create latency at {many} existing sandboxes ÷ at 10");
    Ok(vec![
        Row::measured(rate, Target::AtLeast(250.0), "/s", per_second, detail.clone()),
        Row::measured(
            "the same: p95 of one create",
            Target::AtMost(120.0),
            "ms",
            p95,
            detail,
        )
        .with_tail(p95),
        Row::measured(
            memory,
            Target::AtMost(2.0),
            "MiB",
            (before - after) / count,
            json!({"pss_mib": pss}),
        ),
        Row::measured(
            "the same: PSS of each guest",
            Target::None,
            "KiB",
            pss * 1024.0,
            json!({}),
        ),
        Row::measured(
            "the same: memory of daemon and launcher in all",
            Target::AtMost(120.0),
            "MiB",
            resident,
            json!({}),
        ),
        Row::ratio(
            title,
            Target::AtMost(1.5),
            &ratio,
            json!({"few": few.summary(), "many": crowd.summary()}),
        ),
    ])
}
