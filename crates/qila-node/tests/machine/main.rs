//! A real node on this host, asked directly. It has a `main` of its own: a launcher is forked while there is one thread.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod cases;
mod files;
mod lives;

use cases::Bench;
use std::time::Instant;

fn main() {
    let filter: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    if std::env::args().any(|a| a == "--list") {
        return;
    }
    let bench = Bench::new();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let mut ran = 0;
    for (name, case) in cases::all() {
        if !filter.is_empty() && !filter.iter().any(|f| name.contains(f.as_str())) {
            continue;
        }
        let begun = Instant::now();
        runtime.block_on(async {
            tokio::time::timeout(std::time::Duration::from_secs(60), case(&bench))
                .await
                .expect(name)
        });
        println!("test {name} ... ok ({} ms)", begun.elapsed().as_millis());
        ran += 1;
    }
    runtime.block_on(bench.done());
    println!("\ntest result: ok. {ran} passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
}
