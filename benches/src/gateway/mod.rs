//! The gateway's table: the same client, the same origin, the same work; nothing between them, nginx, mitmproxy, or Qila.
//!
//! Every answer is verified by the client, and the origin answers only who brings the real credential: a proxy that did less
//! than its work has no figure. All use TLS 1.3 with AES-256-GCM and ECDSA P-256 certificates, no resumption, HTTP/1.1.
mod answer;
mod held;
mod keys;
pub mod load;
mod origin;
mod peers;
mod rules;
mod ways;

use serde_json::{Value, json};

use crate::qila::Qila;
use crate::report::{Missing, Row, Target};
use crate::scratch::Scratch;
use crate::stats::{Ratio, Samples};
use ways::{Load, Way, Ways};

/// Bytes of an answer.
const BYTES: usize = 1024;

/// How much is done.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Rounds over all ways.
    pub rounds: usize,
    seconds: f64,
    idle: usize,
}

impl Effort {
    /// For the published figures, or for a look.
    pub fn new(quick: bool) -> Effort {
        match quick {
            true => Effort {
                rounds: 1,
                seconds: 0.7,
                idle: 100,
            },
            false => Effort {
                rounds: 5,
                seconds: 1.5,
                idle: 400,
            },
        }
    }
}

/// What one load came to on each way.
struct Measured {
    found: Vec<(Way, Result<Vec<Value>, Missing>)>,
}

impl Measured {
    fn samples(&self, way: Way, field: &str) -> Result<Samples, Missing> {
        let found = self
            .found
            .iter()
            .find(|(at, _)| *at == way)
            .ok_or("not measured")?;
        let values = found.1.as_ref().map_err(Clone::clone)?;
        let numbers: Option<Vec<f64>> = values.iter().map(|value| value.get(field)?.as_f64()).collect();
        Ok(Samples(numbers.ok_or("the client printed no figure")?))
    }

    fn detail(&self) -> Value {
        let of = |(way, found): &(Way, Result<Vec<Value>, Missing>)| match found {
            Ok(values) => (format!("{way:?}"), json!(values)),
            Err(Missing::Absent(why)) => (format!("{way:?}"), json!(format!("skipped: {why}"))),
            Err(Missing::Broken(why)) => (format!("{way:?}"), json!(format!("failed: {why}"))),
        };
        Value::Object(self.found.iter().map(of).collect())
    }
}

/// Runs a load over the ways in turn, so that a drift of the machine meets them all.
fn measure(ways: &Ways, load: &Load, over: &[Way], rounds: usize) -> Measured {
    let mut found: Vec<(Way, Result<Vec<Value>, Missing>)> =
        over.iter().map(|way| (*way, Ok(Vec::new()))).collect();
    for round in 0..rounds {
        for turn in 0..over.len() {
            let Some((way, Ok(values))) = found.get_mut((round + turn) % over.len()) else {
                continue;
            };
            let way = *way;
            let once = ways.program(way, load).and_then(|program| {
                ways::run(&program).map_err(|why| match way {
                    // A peer that fails is no failure of ours.
                    Way::Nginx | Way::Mitmproxy => Missing::Absent(why),
                    _ => Missing::Broken(why),
                })
            });
            match once {
                Ok(value) => values.push(value),
                Err(missing) => {
                    if let Some(slot) = found.iter_mut().find(|(at, _)| *at == way) {
                        slot.1 = Err(missing);
                    }
                }
            }
        }
    }
    Measured { found }
}

/// Measures every row.
pub fn rows(scratch: &Scratch, qila: &Result<Qila, Missing>, effort: Effort) -> Result<Vec<Row>, String> {
    println!("note: {}", ways::pin());
    let ways = Ways::start(scratch, qila)?;
    let load = |kind, connections| Load {
        kind,
        connections,
        seconds: effort.seconds,
        bytes: BYTES,
    };
    let all = [Way::Direct, Way::Nginx, Way::Mitmproxy, Way::Qila];
    let mut rows = Vec::new();

    let with_plain = [Way::Direct, Way::Nginx, Way::Mitmproxy, Way::Qila, Way::Plain];
    let latency = measure(&ways, &load("latency", 1), &with_plain, effort.rounds);
    for (field, limit) in [("p50", 150.0), ("p99", 1000.0)] {
        let title = format!("added latency of an intercepted request with a credential, keep-alive, {field}");
        rows.push(added(&latency, Way::Qila, &title, field, Target::AtMost(limit)));
        for (way, name) in [
            (Way::Plain, "Qila, no credential"),
            (Way::Nginx, "nginx"),
            (Way::Mitmproxy, "mitmproxy"),
        ] {
            rows.push(added(
                &latency,
                way,
                &format!("the same, {name}, {field}"),
                field,
                Target::None,
            ));
        }
    }
    let rate = measure(
        &ways,
        &load("rate", 16),
        &[&all[..], &[Way::Plain]].concat(),
        effort.rounds,
    );
    rows.push(over(
        &rate,
        Way::Qila,
        Way::Nginx,
        "intercepted requests/s, 16 connections ÷ nginx as TLS reverse proxy",
        Target::AtLeast(0.7),
    ));
    rows.push(over(
        &rate,
        Way::Qila,
        Way::Mitmproxy,
        "intercepted requests/s, 16 connections ÷ mitmproxy",
        Target::AtLeast(10.0),
    ));
    rows.push(over(
        &rate,
        Way::Plain,
        Way::Nginx,
        "the same without a credential ÷ nginx",
        Target::None,
    ));
    rows.extend(crate::bulk::rows(scratch, qila, effort.rounds.max(3)));
    let fresh = measure(&ways, &load("connections", 8), &all, effort.rounds);
    rows.push(over(
        &fresh,
        Way::Qila,
        Way::Nginx,
        "new TLS connections/s intercepted, warm certificate cache ÷ nginx",
        Target::AtLeast(0.7),
    ));
    rows.push(over(
        &fresh,
        Way::Qila,
        Way::Mitmproxy,
        "new TLS connections/s intercepted ÷ mitmproxy",
        Target::None,
    ));
    rows.push(held::row(
        &ways,
        &Load {
            seconds: 1.0,
            ..load("idle", effort.idle)
        },
    ));
    rows.push(rules::row());
    let events = measure(&ways, &load("events", 1), &with_plain, effort.rounds);
    rows.push(added(
        &events,
        Way::Qila,
        "first streamed token (server-sent event), delay added, p50",
        "p50",
        Target::AtMost(200.0),
    ));
    rows.push(added(
        &events,
        Way::Qila,
        "first streamed token, delay added, p99",
        "p99",
        Target::None,
    ));
    rows.push(added(
        &events,
        Way::Plain,
        "the same, Qila, no credential, p50",
        "p50",
        Target::None,
    ));
    rows.push(added(
        &events,
        Way::Nginx,
        "the same, nginx, p50",
        "p50",
        Target::None,
    ));
    rows.push(added(
        &events,
        Way::Mitmproxy,
        "the same, mitmproxy, p50",
        "p50",
        Target::None,
    ));
    Ok(rows)
}

/// What a way adds to the direct one.
fn added(measured: &Measured, way: Way, title: &str, field: &str, target: Target) -> Row {
    let both = measured
        .samples(Way::Direct, field)
        .and_then(|direct| Ok((direct, measured.samples(way, field)?)));
    match both {
        Ok((direct, ours)) => {
            let more = |p| ours.percentile(p) - direct.percentile(p);
            Row::measured(title, target, "µs", more(0.5), measured.detail()).with_tail(more(0.95))
        }
        Err(missing) => Row::without(title, target, "µs", missing),
    }
}

/// One way's rate over another's.
fn over(measured: &Measured, ours: Way, theirs: Way, title: &str, target: Target) -> Row {
    let of = |way| measured.samples(way, "per_second");
    match of(ours).and_then(|ours| Ok((ours, of(theirs)?))) {
        Ok((ours, theirs)) => {
            let ratio = Ratio::new(&ours, &theirs);
            let detail = json!({"ratio": ratio.summary(), "all": measured.detail()});
            // Of speeds the slow end is the tail.
            let tail = ours.percentile(0.05) / theirs.percentile(0.05);
            Row::measured(title, target, "×", ratio.of_medians, detail).with_tail(tail)
        }
        Err(missing) => Row::without(title, target, "×", missing),
    }
}
