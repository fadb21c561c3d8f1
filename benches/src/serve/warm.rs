//! Forks of a Python that has imported numpy: how soon one runs code, and what a thousand of them hold.
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::Client;
use super::daemon::Daemon;
use super::host;
use crate::report::{Row, Target};
use crate::stats::{Ratio, Samples};

/// Clients that start forks at the same time.
const AT_ONCE: usize = 4;
/// Says that numpy is there and can be used, and stays.
const STAYS: &str = "import numpy, time; numpy.arange(9).sum(); print('here', flush=True); time.sleep(3600)";
/// The rows.
const READY: &str = "Python with numpy ready from a zygote ÷ starting `python3 -c 'import numpy'`";
const MADE: &str = "the same, with the sandbox made for it";

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Starts a fork; returns when it has used numpy.
fn fork(client: &mut Client, id: &str) -> Result<(), String> {
    let body = json!({"argv": ["python3", "-c", STAYS], "warm": true});
    client.until(&format!("/v1/sandboxes/{id}/exec/stream"), &body, "event: stdout")
}

/// Milliseconds in which the host's own Python has imported numpy and ended.
fn started_anew(numpy: &PathBuf) -> Result<f64, String> {
    let begun = Instant::now();
    let status = Command::new("/usr/bin/python3")
        .args(["-c", "import numpy"])
        .env("PYTHONPATH", numpy)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .status()
        .map_err(text)?;
    match status.success() {
        true => Ok(begun.elapsed().as_secs_f64() * 1e3),
        false => Err(format!("python3 on the host ended with {status}")),
    }
}

/// Both rows; skipped where there is no numpy to warm up with.
pub fn rows(daemon: &Daemon, many: usize, runs: usize) -> Result<Vec<Row>, String> {
    let held = format!("{many} forked Python-with-numpy sandboxes: host memory each (MemAvailable)");
    let Some(numpy) = std::env::var_os("QILA_BENCH_NUMPY").map(PathBuf::from) else {
        let why = "numpy could not be installed beside the build";
        return Ok(vec![
            Row::skipped(READY, Target::AtMost(0.1), "×", why),
            Row::skipped(MADE, Target::AtMost(0.1), "×", why),
            Row::skipped(held, Target::AtMost(6.0), "MiB", why),
        ]);
    };
    let policy = format!(
        "version: 1\nresources:\n  memory: 1GiB\n  processes: 64\n  open_files: 256\nfilesystem:\n  workspace: layer\n  \
         read: [{numpy:?}]\n  hide: [/etc/shadow]\nenvironment:\n  set: {{LANG: C.UTF-8, PYTHONPATH: {numpy:?}}}\n"
    );
    let template = json!({"source": "host", "policy": policy, "zygote": {"preload": ["numpy"]}});
    daemon
        .client()?
        .want("PUT", "/v1/templates/numpy", &template, 200)?;
    let made = measured(daemon, &numpy, held, many, runs);
    daemon.end_all()?;
    daemon
        .client()?
        .want("DELETE", "/v1/templates/numpy", &Value::Null, 204)?;
    made
}

fn measured(
    daemon: &Daemon,
    numpy: &PathBuf,
    held: String,
    many: usize,
    runs: usize,
) -> Result<Vec<Row>, String> {
    let body = json!({"template": "numpy"});
    let mut client = daemon.client()?;
    // The first has the program warmed up, and keeps it.
    let first = client.create(&body)?;
    fork(&mut daemon.client()?, &first)?;
    started_anew(numpy)?;
    let (mut ready, mut made, mut anew) = (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..runs.min(60) {
        let mut stream = daemon.client()?;
        let begun = Instant::now();
        let id = client.create(&body)?;
        let there = Instant::now();
        fork(&mut stream, &id)?;
        ready.0.push(there.elapsed().as_secs_f64() * 1e3);
        made.0.push(begun.elapsed().as_secs_f64() * 1e3);
        client.end(&id)?;
        anew.0.push(started_anew(numpy)?);
    }
    let row = |title: &str, ours: &Samples| {
        let detail = json!({"qila_ms": ours.summary(), "python_ms": anew.summary()});
        Row::ratio(title, Target::AtMost(0.1), &Ratio::new(ours, &anew), detail)
    };
    let memory = each(daemon, many)?;
    Ok(vec![
        row(READY, &ready),
        row(MADE, &made),
        Row::measured(
            held,
            Target::AtMost(6.0),
            "MiB",
            memory,
            json!({"sandboxes": many}),
        ),
    ])
}

/// MiB that the host has less for each of so many sandboxes that hold a fork which has used numpy.
fn each(daemon: &Daemon, many: usize) -> Result<f64, String> {
    let settle = || std::thread::sleep(Duration::from_secs(2));
    settle();
    let before = host::available()?;
    let left = AtomicUsize::new(many);
    let one = || -> Result<(), String> {
        let mut client = daemon.client()?;
        let next = |n: usize| n.checked_sub(1);
        while left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .is_ok()
        {
            let id = client.create(&json!({"template": "numpy"}))?;
            fork(&mut daemon.client()?, &id)?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let work: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(one)).collect();
        let failed = |_| Err("a thread failed".to_owned());
        work.into_iter().try_for_each(|w| w.join().unwrap_or_else(failed))
    })?;
    settle();
    Ok((before - host::available()?) / many as f64)
}
