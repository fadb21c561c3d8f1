//! What is counted of requests, as Prometheus reads it (text format 0.0.4).
use http::{Method, StatusCode};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of the histogram, seconds.
const BOUNDS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
];
/// Series at most; a further one is counted under `other`. Routes are known, so this is never reached.
const SERIES: usize = 4_096;

#[derive(Default)]
struct Times {
    buckets: [u64; BOUNDS.len()],
    count: u64,
    sum: f64,
}

#[derive(Default)]
struct Counted {
    requests: BTreeMap<(String, String, u16), u64>,
    times: BTreeMap<String, Times>,
}

/// Counters of a server.
#[derive(Default)]
pub(crate) struct Metrics {
    counted: Mutex<Counted>,
}

impl Metrics {
    /// Counts an answer. The time is that until its head.
    pub fn answered(&self, method: &Method, route: &str, status: StatusCode, took: Duration) {
        let method = match method.as_str() {
            known @ ("GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "PATCH" | "OPTIONS") => known,
            _ => "other",
        };
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let route = if counted.requests.len() < SERIES {
            route
        } else {
            "other"
        };
        *counted
            .requests
            .entry((method.to_owned(), route.to_owned(), status.as_u16()))
            .or_default() += 1;
        let times = counted.times.entry(route.to_owned()).or_default();
        let seconds = took.as_secs_f64();
        times.count += 1;
        times.sum += seconds;
        for (bucket, bound) in times.buckets.iter_mut().zip(BOUNDS) {
            *bucket += u64::from(seconds <= bound);
        }
    }

    /// All of it as text. (Writing to a text cannot fail.)
    pub fn text(&self) -> String {
        let counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = String::new();
        heading(
            &mut out,
            "qila_http_requests_total",
            "counter",
            "Requests by route and status.",
        );
        for ((method, route, status), n) in &counted.requests {
            let _ = writeln!(
                out,
                "qila_http_requests_total{{method=\"{method}\",route=\"{route}\",status=\"{status}\"}} {n}"
            );
        }
        let name = "qila_http_request_seconds";
        heading(&mut out, name, "histogram", "Time until the head of the answer.");
        for (route, times) in &counted.times {
            for (bound, n) in BOUNDS.iter().zip(times.buckets) {
                let _ = writeln!(out, "{name}_bucket{{route=\"{route}\",le=\"{bound}\"}} {n}");
            }
            let _ = writeln!(
                out,
                "{name}_bucket{{route=\"{route}\",le=\"+Inf\"}} {}",
                times.count
            );
            let _ = writeln!(out, "{name}_sum{{route=\"{route}\"}} {}", times.sum);
            let _ = writeln!(out, "{name}_count{{route=\"{route}\"}} {}", times.count);
        }
        out
    }
}

/// The two lines before a family of series.
pub(crate) fn heading(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// A family of one series.
pub(crate) fn gauge(out: &mut String, name: &str, help: &str, value: impl std::fmt::Display) {
    heading(out, name, "gauge", help);
    let _ = writeln!(out, "{name} {value}");
}
