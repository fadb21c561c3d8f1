//! Measures the log on this machine and prints JSON: durable events per second, verification, opening a long log.
//!
//! `cargo run --release -p qila-evidence --example throughput [DIRECTORY]` (a directory on the disk to be measured).
use qila_evidence::{Log, Writer, verify};
use qila_types::{Access, Decision, Event, EventKind, RunId};
use std::error::Error;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn Error>>;
const LONG: u64 = 1_000_000;
const THREADS: u64 = 64;
const EACH: u64 = 4000;

fn event(n: u64) -> Event {
    let access = Access::Http {
        host: "api.example.org".into(),
        port: 443,
        method: "POST".into(),
        path: format!("/v1/chat/completions/{n}"),
    };
    let decision = Decision {
        access,
        allowed: true,
        rule: Some("network.allow[3]".into()),
        credential: Some("example".into()),
        reason: "the rule names this host, method and path".into(),
    };
    Event {
        time_ms: 1_795_000_000_000 + n,
        run: Some(RunId::from_parts(1_795_000_000_000, n % 7)),
        kind: EventKind::Decision(decision),
    }
}

fn rate(count: u64, took: Duration) -> u64 {
    (count as f64 / took.as_secs_f64()) as u64
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times
        .get(times.len() / 2)
        .map_or(0.0, |t| (t.as_secs_f64() * 1e7).round() / 10.0)
}

/// Many threads, each waiting until its event is on the disk before it makes the next.
fn waiting(dir: &File) -> Outcome<u64> {
    let writer = Writer::start(Log::open(dir.as_fd())?)?;
    let begun = Instant::now();
    std::thread::scope(|scope| -> Outcome<()> {
        let threads: Vec<_> = (0..THREADS)
            .map(|t| {
                let writer = &writer;
                scope.spawn(move || {
                    (0..EACH).try_for_each(|n| writer.durable(&event(t * EACH + n))?.wait().map(drop))
                })
            })
            .collect();
        for thread in threads {
            thread.join().map_err(|_| "a thread panicked")??;
        }
        Ok(())
    })?;
    let took = begun.elapsed();
    writer.finish()?;
    Ok(rate(THREADS * EACH, took))
}

/// A million events by eight threads that collect tickets and wait for a thousand at a time.
fn pipelined(dir: &File) -> Outcome<u64> {
    let writer = Writer::start(Log::open(dir.as_fd())?)?;
    let begun = Instant::now();
    std::thread::scope(|scope| -> Outcome<()> {
        let work = |t: u64| -> Result<(), qila_evidence::WriteError> {
            for chunk in 0..LONG / 8000 {
                let first = t * LONG / 8 + chunk * 1000;
                let tickets: Result<Vec<_>, _> =
                    (first..first + 1000).map(|n| writer.durable(&event(n))).collect();
                tickets?
                    .into_iter()
                    .try_for_each(|ticket| ticket.wait().map(drop))?;
            }
            Ok(())
        };
        let threads: Vec<_> = (0..8).map(|t| scope.spawn(move || work(t))).collect();
        for thread in threads {
            thread.join().map_err(|_| "a thread panicked")??;
        }
        Ok(())
    })?;
    let took = begun.elapsed();
    writer.finish()?;
    Ok(rate(LONG, took))
}

fn main() -> Outcome<()> {
    let base = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let place = tempfile::Builder::new()
        .prefix("qila-throughput-")
        .tempdir_in(Path::new(&base))?;
    let dir = File::open(place.path())?;
    let pipelined = pipelined(&dir)?;
    let waiting = waiting(&dir)?;

    let bytes = std::fs::metadata(place.path().join("log"))?.len();
    let begun = Instant::now();
    let report = verify(dir.as_fd(), None, None)?;
    let verified = rate(report.records, begun.elapsed());

    // As a new process does it on the start path: open, append one event, close.
    let (mut opening, mut whole, mut sync) = (Vec::new(), Vec::new(), Vec::new());
    let scratch = File::create(place.path().join("scratch"))?;
    for n in 0..200 {
        let begun = Instant::now();
        let mut log = Log::open(dir.as_fd())?;
        opening.push(begun.elapsed());
        log.append(&[event(n)])?;
        whole.push(begun.elapsed());
        let begun = Instant::now();
        std::os::unix::fs::FileExt::write_all_at(&scratch, &[b'x'; 600], n * 600)?;
        scratch.sync_data()?;
        sync.push(begun.elapsed());
    }
    let json = serde_json::json!({
        "durable_events_per_s": {"64_threads_each_waiting": waiting, "8_threads_1000_tickets": pipelined},
        "verified_records_per_s": verified,
        "intact": report.intact(),
        "records": report.records,
        "checkpoints": report.checkpoints,
        "log_bytes": bytes,
        "median_us": {
            "open_long_log": median(opening),
            "open_and_append_one": median(whole),
            "write_and_fdatasync_600_bytes": median(sync),
        },
    });
    println!("{json:#}");
    Ok(())
}
