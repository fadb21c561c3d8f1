//! One sandbox at a time: made and used, with and without a pool; paused and resumed.
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::daemon::Daemon;
use super::{latency, tail};
use crate::report::Row;
use crate::stats::Samples;

/// Sandboxes that the pool keeps ready.
const POOL: u32 = 16;

fn once(daemon: &Daemon, body: &Value, runs: usize, rest: Duration) -> Result<Samples, String> {
    let mut client = daemon.client()?;
    let mut samples = Samples::default();
    for run in 0..runs + 5 {
        let begun = Instant::now();
        let id = client.create(body)?;
        client.run_true(&id)?;
        // The first ones warm up.
        if run >= 5 {
            samples.0.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        client.end(&id)?;
        std::thread::sleep(rest);
    }
    Ok(samples)
}

/// From the request for a sandbox to the result of the first `true` in it.
pub fn first(daemon: &Daemon, runs: usize) -> Result<Vec<Row>, String> {
    let plain = once(daemon, &json!({}), runs, Duration::ZERO)?;
    let mut client = daemon.client()?;
    let template = json!({"source": "host", "policy": "offline", "pool": POOL});
    client.want("PUT", "/v1/templates/pooled", &template, 200)?;
    std::thread::sleep(Duration::from_secs(2));
    // The pool is refilled between two: what is measured is taking one that is ready.
    let pooled = once(
        daemon,
        &json!({"template": "pooled"}),
        runs,
        Duration::from_millis(30),
    )?;
    client.want("DELETE", "/v1/templates/pooled", &Value::Null, 204)?;
    Ok(vec![
        latency("create → result of first `true`, no pool, p50", 6.0, &plain),
        tail("the same, p95", 12.0, &plain),
        latency("create → result of first `true`, from a pool, p50", 2.0, &pooled),
        tail("the same, p95", 4.0, &pooled),
    ])
}

/// Standing still and going on.
pub fn pause(daemon: &Daemon, runs: usize) -> Result<Vec<Row>, String> {
    let mut client = daemon.client()?;
    let id = client.create(&json!({}))?;
    let (mut still, mut on) = (Samples::default(), Samples::default());
    for _ in 0..runs {
        for (what, body, samples) in [("pause", Value::Null, &mut still), ("resume", json!({}), &mut on)] {
            let begun = Instant::now();
            client.want("POST", &format!("/v1/sandboxes/{id}/{what}"), &body, 200)?;
            samples.0.push(begun.elapsed().as_secs_f64() * 1e3);
        }
    }
    client.end(&id)?;
    Ok(vec![latency("pause", 5.0, &still), latency("resume", 5.0, &on)])
}
