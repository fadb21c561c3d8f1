//! Large files: sent and received through the API against a raw copy over loopback, and forked without being copied.
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use serde_json::{Value, json};

use super::daemon::Daemon;
use super::{host, latency};
use crate::report::{Row, Target};
use crate::scratch::Scratch;
use crate::stats::{Ratio, Samples};

/// Bytes of one write.
const PIECE: usize = 256 << 10;
/// Rounds.
const ROUNDS: usize = 5;

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn send(stream: &mut TcpStream, mib: usize) -> Result<(), String> {
    let piece = vec![0x5a; PIECE];
    for _ in 0..(mib << 20) / PIECE {
        stream.write_all(&piece).map_err(text)?;
    }
    Ok(())
}

/// MiB per second of bytes that a thread takes from loopback and writes to a file beside the sandboxes', or reads and sends.
fn raw(scratch: &Scratch, mib: usize, up: bool) -> Result<f64, String> {
    let path = scratch.folder.join("raw");
    let listener = TcpListener::bind("127.0.0.1:0").map_err(text)?;
    let address = listener.local_addr().map_err(text)?;
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let other = scope.spawn(|| -> Result<(), String> {
            let (mut stream, _) = listener.accept().map_err(text)?;
            if up {
                let mut file = std::fs::File::create(&path).map_err(text)?;
                std::io::copy(&mut stream, &mut file).map_err(text)?;
                return stream.write_all(b"k").map_err(text);
            }
            let mut file = std::fs::File::open(&path).map_err(text)?;
            std::io::copy(&mut file, &mut stream).map(drop).map_err(text)
        });
        let mut stream = TcpStream::connect(address).map_err(text)?;
        let mut buffer = vec![0; PIECE];
        if up {
            send(&mut stream, mib)?;
            stream.shutdown(std::net::Shutdown::Write).map_err(text)?;
        }
        while stream.read(&mut buffer).map_err(text)? > 0 {}
        other.join().unwrap_or_else(|_| Err("a thread failed".to_owned()))
    })?;
    Ok(mib as f64 / begun.elapsed().as_secs_f64())
}

/// The same through the API.
fn ours(daemon: &Daemon, id: &str, mib: usize, up: bool) -> Result<f64, String> {
    let mut client = daemon.client()?;
    let path = format!("/v1/sandboxes/{id}/files?path=file");
    let begun = Instant::now();
    let mut bytes = 0;
    let status = if up {
        let stream = client.begin("PUT", &path, "application/octet-stream", mib << 20)?;
        send(stream, mib)?;
        client.finish(|_| {})?
    } else {
        client.begin("GET", &path, "application/json", 0)?;
        client.finish(|piece| bytes += piece.len())?
    };
    if status != 200 || (!up && bytes != mib << 20) {
        return Err(format!("the file: {status}, {bytes} bytes"));
    }
    Ok(mib as f64 / begun.elapsed().as_secs_f64())
}

/// Both ways.
pub fn files(daemon: &Daemon, scratch: &Scratch, mib: usize) -> Result<Vec<Row>, String> {
    let mut client = daemon.client()?;
    let id = client.create(&json!({}))?;
    let mut rows = Vec::new();
    for (up, name) in [(true, "upload"), (false, "download")] {
        let (mut through, mut beside) = (Samples::default(), Samples::default());
        for _ in 0..ROUNDS {
            through.0.push(ours(daemon, &id, mib, up)?);
            beside.0.push(raw(scratch, mib, up)?);
        }
        let ratio = Ratio::new(&through, &beside);
        let detail =
            json!({"api_mib_s": through.summary(), "raw_mib_s": beside.summary(), "ratio": ratio.summary()});
        // Of speeds the slow end is the tail.
        let slow = through.percentile(0.05) / beside.percentile(0.05);
        let title = format!("file {name} of {mib} MiB through the API ÷ raw loopback copy");
        rows.push(Row::measured(title, Target::AtLeast(0.5), "×", ratio.of_medians, detail).with_tail(slow));
    }
    client.end(&id)?;
    Ok(rows)
}

/// A fork of a sandbox that holds a large file.
pub fn fork(daemon: &Daemon, scratch: &Scratch, mib: usize, runs: usize) -> Result<Vec<Row>, String> {
    let mut client = daemon.client()?;
    let id = client.create(&json!({}))?;
    let line = format!("dd if=/dev/zero of=big bs=1M count={mib} 2>&1");
    let body = json!({"shell": line, "timeout_ms": 120_000});
    let said = client.want("POST", &format!("/v1/sandboxes/{id}/exec"), &body, 200)?;
    if said.get("exit_code").and_then(Value::as_i64) != Some(0) {
        return Err(format!("writing the file: {said}"));
    }
    let mut samples = Samples::default();
    let before = host::disk(&scratch.folder)?;
    for _ in 0..runs {
        let begun = Instant::now();
        let made = client.want("POST", &format!("/v1/sandboxes/{id}/fork"), &json!({}), 201)?;
        samples.0.push(begun.elapsed().as_secs_f64() * 1e3);
        let new = made.get("id").and_then(Value::as_str).ok_or("no id")?.to_owned();
        let path = format!("/v1/sandboxes/{new}/files/stat?path=big");
        let there = client.want("GET", &path, &Value::Null, 200)?;
        if there.get("size").and_then(Value::as_u64) != u64::try_from(mib << 20).ok() {
            return Err(format!("the fork has {there}"));
        }
        let taken = host::disk(&scratch.folder)? - before;
        if taken > mib as f64 / 2.0 {
            return Err(format!("a fork took {taken:.0} MiB of the disk: it was copied"));
        }
        client.end(&new)?;
    }
    client.end(&id)?;
    let title = format!("fork of a sandbox with a workspace of {mib} MiB");
    Ok(vec![latency(&title, 20.0, &samples)])
}
