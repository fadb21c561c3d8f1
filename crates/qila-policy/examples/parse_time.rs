//! How long each built-in policy takes to read: `cargo run --release -p qila-policy --example parse_time`.
//!
//! Prints the first parse in this process (cold, what a start-up pays) and the median of many, in microseconds.
use qila_policy::{NoFiles, canonical, parse, preset};
use std::time::Instant;

const ROUNDS: usize = 2_000;

fn micros(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64() * 1e6
}

fn main() {
    let ready = micros(|| drop(std::hint::black_box(preset::policy("offline"))));
    println!("offline, ready made, first: {ready:.1} µs\n");
    println!(
        "{:<18}{:>8}{:>10}{:>10}{:>14}",
        "policy", "bytes", "first µs", "median µs", "canonical µs"
    );
    for preset in preset::PRESETS {
        let read = || {
            drop(std::hint::black_box(parse(
                preset.name,
                preset.text,
                &mut NoFiles,
            )))
        };
        let first = micros(read);
        let mut times: Vec<f64> = (0..ROUNDS).map(|_| micros(read)).collect();
        times.sort_by(f64::total_cmp);
        let median = times.get(ROUNDS / 2).copied().unwrap_or_default();
        let text = match parse(preset.name, preset.text, &mut NoFiles) {
            Ok(policy) => micros(|| drop(std::hint::black_box(canonical(&policy)))),
            Err(_) => f64::NAN,
        };
        println!(
            "{:<18}{:>8}{first:>10.0}{median:>10.0}{text:>14.0}",
            preset.name,
            preset.text.len()
        );
    }
}
