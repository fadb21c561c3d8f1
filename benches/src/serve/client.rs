//! The smallest client over one kept connection: what is measured is the server, not this.
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// Longest answer that is kept.
const LONGEST: usize = 16 << 20;

/// A connection with a key.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<TcpStream>,
    key: String,
}

/// How much of a stream is read in which what was awaited does not come.
const LONGEST_EVENTS: usize = 64 << 10;

/// An answer: its status and its body.
pub type Answer = (u16, Vec<u8>);

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Client {
    /// Connects.
    pub fn connect(address: SocketAddr, key: &str) -> Result<Client, String> {
        let stream = TcpStream::connect(address).map_err(text)?;
        stream.set_nodelay(true).map_err(text)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(text)?;
        Ok(Client {
            stream: BufReader::with_capacity(256 << 10, stream),
            key: key.to_owned(),
        })
    }

    /// Sends the head of a request whose body of so many bytes follows.
    pub fn begin(
        &mut self,
        method: &str,
        path: &str,
        kind: &str,
        bytes: usize,
    ) -> Result<&mut TcpStream, String> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: bench\r\nx-api-key: {}\r\ncontent-type: {kind}\r\ncontent-length: {bytes}\r\n\r\n",
            self.key
        );
        let stream = self.stream.get_mut();
        stream.write_all(head.as_bytes()).map_err(text)?;
        Ok(stream)
    }

    fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line).map_err(text)? {
            0 => Err("the server closed the connection".to_owned()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }

    /// Reads an answer; what comes is handed over piece by piece.
    pub fn finish(&mut self, mut take: impl FnMut(&[u8])) -> Result<u16, String> {
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|s| s.parse().ok());
        let status = status.ok_or_else(|| format!("no answer: {first}"))?;
        let (mut length, mut chunked) = (0, false);
        loop {
            let line = self.line()?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(n) = line.strip_prefix("content-length:") {
                length = n.trim().parse().map_err(text)?;
            }
            chunked |= line.starts_with("transfer-encoding:") && line.ends_with("chunked");
        }
        if !chunked {
            self.pass(length, &mut take)?;
            return Ok(status);
        }
        loop {
            let size = usize::from_str_radix(&self.line()?, 16).map_err(text)?;
            self.pass(size, &mut take)?;
            self.line()?;
            if size == 0 {
                return Ok(status);
            }
        }
    }

    fn pass(&mut self, mut length: usize, take: &mut impl FnMut(&[u8])) -> Result<(), String> {
        while length > 0 {
            let there = self.stream.fill_buf().map_err(text)?;
            let n = there.len().min(length);
            if n == 0 {
                return Err("the answer broke off".to_owned());
            }
            take(there.get(..n).unwrap_or_default());
            self.stream.consume(n);
            length -= n;
        }
        Ok(())
    }

    /// Asks with JSON; null: no body.
    pub fn ask(&mut self, method: &str, path: &str, body: &Value) -> Result<Answer, String> {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: bench\r\nx-api-key: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.key,
            body.len()
        );
        self.stream.get_mut().write_all(head.as_bytes()).map_err(text)?;
        let mut kept = Vec::new();
        let status = self.finish(|piece| {
            let room = LONGEST.saturating_sub(kept.len());
            kept.extend_from_slice(piece.get(..room).unwrap_or(piece));
        })?;
        Ok((status, kept))
    }

    /// Asks for a stream of events and reads until a line begins with `word`; the connection cannot be used afterwards.
    pub fn until(&mut self, path: &str, body: &Value, word: &str) -> Result<(), String> {
        let body = body.to_string();
        let stream = self.begin("POST", path, "application/json", body.len())?;
        stream.write_all(body.as_bytes()).map_err(text)?;
        let mut seen = self.line()?;
        if !seen.contains(" 200 ") {
            return Err(format!("{path}: {seen}"));
        }
        let mut over = false;
        while !over {
            let line = self.line()?;
            if line.starts_with(word) {
                return Ok(());
            }
            // The line after one of these says what went wrong.
            over = ["event: ended", "event: error"].iter().any(|e| seen.ends_with(e))
                || seen.len() > LONGEST_EVENTS;
            seen.push('\n');
            seen.push_str(&line);
        }
        Err(format!("{path}: {seen}"))
    }

    /// Asks, and wants this status.
    pub fn want(&mut self, method: &str, path: &str, body: &Value, status: u16) -> Result<Value, String> {
        let (got, said) = self.ask(method, path, body)?;
        if got != status {
            return Err(format!(
                "{method} {path}: {got}: {}",
                String::from_utf8_lossy(&said)
            ));
        }
        Ok(serde_json::from_slice(&said).unwrap_or(Value::Null))
    }

    /// Makes a sandbox that lives for an hour; its id.
    pub fn create(&mut self, body: &Value) -> Result<String, String> {
        let mut body = body.clone();
        if let Some(fields) = body.as_object_mut() {
            fields.insert("timeout_ms".to_owned(), json!(3_600_000));
        }
        let made = self.want("POST", "/v1/sandboxes", &body, 201)?;
        made.get("id")
            .and_then(Value::as_str)
            .map(str::to_owned)
            .ok_or_else(|| "no id".to_owned())
    }

    /// Runs `true` and returns milliseconds until its answer.
    pub fn run_true(&mut self, id: &str) -> Result<f64, String> {
        let begun = Instant::now();
        let said = self.want(
            "POST",
            &format!("/v1/sandboxes/{id}/exec"),
            &json!({"argv": ["true"]}),
            200,
        )?;
        let took = begun.elapsed().as_secs_f64() * 1e3;
        match said.get("exit_code").and_then(Value::as_i64) {
            Some(0) => Ok(took),
            _ => Err(format!("true ended with {said}")),
        }
    }

    /// Ends a sandbox.
    pub fn end(&mut self, id: &str) -> Result<(), String> {
        self.want("DELETE", &format!("/v1/sandboxes/{id}"), &Value::Null, 204)
            .map(drop)
    }
}
