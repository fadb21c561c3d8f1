//! The table of `qila serve`: what a client on the same machine waits for, and what thousands of sandboxes cost.
mod bulk;
mod client;
mod daemon;
mod host;
mod lives;
mod many;
mod warm;

use serde_json::{Value, json};

use crate::docker::Docker;
use crate::report::{Missing, Row, Target};
use crate::scratch::Scratch;
use crate::stats::{Ratio, Samples};
use daemon::Daemon;

/// How much is done.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Samples of each latency.
    pub runs: usize,
    /// Sandboxes that are made and kept at once.
    pub many: usize,
    /// MiB of files that are sent, received and forked.
    pub mib: usize,
}

impl Effort {
    /// For the published figures, or for a look.
    pub fn new(quick: bool) -> Effort {
        match quick {
            true => Effort {
                runs: 20,
                many: 100,
                mib: 64,
            },
            false => Effort {
                runs: 200,
                many: 2_000,
                mib: 1024,
            },
        }
    }
}

/// A row of samples in milliseconds, judged by the median.
fn latency(title: &str, limit: f64, samples: &Samples) -> Row {
    Row::measured(
        title,
        Target::AtMost(limit),
        "ms",
        samples.median(),
        samples.summary(),
    )
    .with_tail(samples.percentile(0.95))
}

/// The same samples, judged by the 95th percentile.
fn tail(title: &str, limit: f64, samples: &Samples) -> Row {
    let p95 = samples.percentile(0.95);
    Row::measured(title, Target::AtMost(limit), "ms", p95, samples.summary()).with_tail(p95)
}

/// What `--only` takes here.
pub const PARTS: [&str; 8] = [
    "create", "exec", "zygote", "fan-out", "many", "files", "fork", "pause",
];

/// Measures every row, or those of one part.
pub fn rows(scratch: &Scratch, effort: Effort, only: Option<&str>) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    let daemon = match Daemon::start(scratch) {
        Ok(daemon) => daemon,
        Err(missing) => return Ok(vec![Row::without("qila serve", Target::None, "ms", missing)]),
    };
    // One after another: what fails takes its own rows with it and no others.
    for part in PARTS.into_iter().filter(|p| only.is_none_or(|only| only == *p)) {
        let made = match part {
            "create" => lives::first(&daemon, effort.runs),
            "exec" => against_docker(scratch, &daemon, effort.runs),
            "zygote" => warm::rows(&daemon, effort.many / 2, effort.runs),
            "fan-out" => many::fan_out(&daemon, effort.runs.div_ceil(20)),
            "many" => many::rows(&daemon, effort.many, effort.runs),
            "files" => bulk::files(&daemon, scratch, effort.mib.min(256)),
            "fork" => bulk::fork(&daemon, scratch, effort.mib, effort.runs.min(20)),
            _ => lives::pause(&daemon, effort.runs),
        };
        match made {
            Ok(more) => rows.extend(more),
            Err(why) => rows.push(Row::without(part, Target::None, "ms", Missing::Broken(why))),
        }
    }
    Ok(rows)
}

/// `true` in a sandbox that runs, and in a container that runs, in turn.
fn against_docker(scratch: &Scratch, daemon: &Daemon, runs: usize) -> Result<Vec<Row>, String> {
    const TITLE: &str = "exec `true` in a running sandbox ÷ `docker exec`";
    let target = Target::AtMost(0.03);
    let mut client = daemon.client()?;
    let id = client.create(&json!({}))?;
    let peer = Docker::start(scratch).and_then(|docker| docker.keep(scratch).map(|inside| (docker, inside)));
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    for run in 0..runs {
        ours.0.push(client.run_true(&id)?);
        // The peer takes its time; a share of the runs is enough.
        if let (Ok((_, inside)), 0) = (&peer, run % 5) {
            theirs.0.push(inside.time().map_err(|e| e.to_string())?);
        }
    }
    client.end(&id)?;
    let alone = Row::measured(
        "the same, in time",
        Target::None,
        "ms",
        ours.median(),
        ours.summary(),
    )
    .with_tail(ours.percentile(0.95));
    let compared = match peer {
        Ok(_) => {
            let ratio = Ratio::new(&ours, &theirs);
            let detail: Value = json!({"qila_ms": ours.summary(), "docker_ms": theirs.summary()});
            Row::ratio(TITLE, target, &ratio, detail)
        }
        Err(why) => Row::skipped(TITLE, target, "×", why),
    };
    Ok(vec![compared, alone])
}
