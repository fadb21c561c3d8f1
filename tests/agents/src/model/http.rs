//! As much of HTTP/1.1 as a model API needs: keep-alive, sized and chunked requests, plain and streamed answers.
use serde_json::Value;
use std::io::{Error, ErrorKind, Read, Write};

const MAX_HEAD: usize = 64 * 1024;
const MAX_BODY: usize = 16 * 1024 * 1024;

/// One request.
#[derive(Debug, Clone)]
pub struct Request {
    /// Method.
    pub method: String,
    /// Path with query.
    pub path: String,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Request {
    /// The first header of that name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }

    /// The path without its query.
    pub fn path_only(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }
}

/// Reads one request after the other from a connection.
#[derive(Default)]
pub struct Reader {
    buffer: Vec<u8>,
}

impl Reader {
    /// The next request; none when the client is done.
    pub fn next(&mut self, stream: &mut (impl Read + Write)) -> std::io::Result<Option<Request>> {
        let (length, mut request) = loop {
            if let Some(found) = head(&self.buffer)? {
                break found;
            }
            if self.buffer.len() > MAX_HEAD {
                return Err(Error::new(ErrorKind::InvalidData, "head too long"));
            }
            if !self.fill(stream)? {
                return Ok(None);
            }
        };
        self.buffer.drain(..length);
        if request.header("expect").is_some() {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            stream.flush()?;
        }
        request.body = if request.header("transfer-encoding").is_some() {
            self.chunked(stream)?
        } else {
            let length = request
                .header("content-length")
                .map_or(Ok(0), str::parse)
                .map_err(Error::other)?;
            self.take(stream, length)?
        };
        Ok(Some(request))
    }

    fn fill(&mut self, stream: &mut impl Read) -> std::io::Result<bool> {
        let mut part = [0; 16 * 1024];
        let n = match stream.read(&mut part) {
            // Many clients close without TLS's goodbye.
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => 0,
            other => other?,
        };
        self.buffer.extend_from_slice(&part[..n]);
        Ok(n > 0)
    }

    fn take(&mut self, stream: &mut impl Read, length: usize) -> std::io::Result<Vec<u8>> {
        if length > MAX_BODY {
            return Err(Error::new(ErrorKind::InvalidData, "body too long"));
        }
        while self.buffer.len() < length {
            if !self.fill(stream)? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.buffer.drain(..length).collect())
    }

    fn line(&mut self, stream: &mut impl Read) -> std::io::Result<String> {
        loop {
            if let Some(end) = memchr::memmem::find(&self.buffer, b"\r\n") {
                let line = self.take(stream, end + 2)?;
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if self.buffer.len() > MAX_BODY || !self.fill(stream)? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn chunked(&mut self, stream: &mut impl Read) -> std::io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line(stream)?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(Error::other)?;
            if size == 0 {
                while !self.line(stream)?.is_empty() {}
                return Ok(body);
            }
            if body.len().saturating_add(size) > MAX_BODY {
                return Err(Error::new(ErrorKind::InvalidData, "body too long"));
            }
            body.extend(self.take(stream, size)?);
            self.take(stream, 2)?;
        }
    }
}

fn head(buffer: &[u8]) -> std::io::Result<Option<(usize, Request)>> {
    let mut headers = [httparse::EMPTY_HEADER; 100];
    let mut parsed = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(length) = parsed.parse(buffer).map_err(Error::other)? else {
        return Ok(None);
    };
    let text = |v: &[u8]| String::from_utf8_lossy(v).into_owned();
    let request = Request {
        method: parsed.method.unwrap_or_default().to_owned(),
        path: parsed.path.unwrap_or_default().to_owned(),
        headers: parsed
            .headers
            .iter()
            .map(|h| (h.name.to_ascii_lowercase(), text(h.value)))
            .collect(),
        body: Vec::new(),
    };
    Ok(Some((length, request)))
}

fn start(status: u16, kind: &str, headers: &[(&str, &str)]) -> String {
    let mut out = format!("HTTP/1.1 {status} Scripted\r\ncontent-type: {kind}\r\n");
    for (name, value) in headers {
        out.push_str(&format!("{name}: {value}\r\n"));
    }
    out
}

/// An answer in one piece.
pub fn plain(status: u16, headers: &[(&str, &str)], body: &Value) -> Vec<Vec<u8>> {
    let body = body.to_string();
    let head = start(status, "application/json", headers);
    vec![format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()]
}

/// An answer as server-sent events. Each event is sent as two chunks, which meet in the middle of `secret` where the
/// event has it.
pub fn streamed(headers: &[(&str, &str)], events: &[String], secret: &str) -> Vec<Vec<u8>> {
    let head = start(200, "text/event-stream", headers);
    let mut parts = vec![format!("{head}transfer-encoding: chunked\r\n\r\n").into_bytes()];
    for event in events {
        let middle = event
            .find(secret)
            .map_or(event.len() / 2, |at| at + secret.len() / 2);
        let (a, b) = event.as_bytes().split_at(middle);
        for half in [a, b] {
            let mut chunk = format!("{:x}\r\n", half.len()).into_bytes();
            chunk.extend_from_slice(half);
            chunk.extend_from_slice(b"\r\n");
            parts.push(chunk);
        }
    }
    parts.push(b"0\r\n\r\n".to_vec());
    parts
}
