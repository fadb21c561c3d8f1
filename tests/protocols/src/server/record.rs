//! What the server saw of a request.
use std::sync::{Arc, Mutex};

/// Most bytes of a body that are kept.
const KEPT: usize = 64 * 1024;

/// One request, as it arrived.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// The case that it belongs to, from its `x-case` field.
    pub case: String,
    /// The name that TLS asked for; none in clear.
    pub sni: Option<String>,
    /// `Host` or `:authority`, without a port.
    pub host: String,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The fields, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The first bytes of the body, or of all messages of a stream.
    pub body: Vec<u8>,
    /// Bytes of the body.
    pub length: usize,
    /// What else is to be known: `cancelled`, `late`, `messages=3`.
    pub notes: Vec<String>,
}

impl Record {
    /// A field's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// Everything that arrived, for searches.
    pub fn bytes(&self) -> Vec<u8> {
        let mut all = format!("{} {}\n", self.method, self.target).into_bytes();
        for (name, value) in &self.headers {
            all.extend_from_slice(format!("{name}: {value}\n").as_bytes());
        }
        all.extend_from_slice(&self.body);
        all
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.length += bytes.len();
        let room = KEPT.saturating_sub(self.body.len());
        self.body
            .extend_from_slice(bytes.get(..bytes.len().min(room)).unwrap_or_default());
    }
}

/// All of them.
#[derive(Debug, Clone, Default)]
pub struct Records(Arc<Mutex<Vec<Record>>>);

/// One of them, while it is being written.
#[derive(Debug, Clone)]
pub(crate) struct Entry(Records, usize);

impl Records {
    pub(crate) fn begin(&self, record: Record) -> Entry {
        let mut all = self.0.lock().unwrap();
        all.push(record);
        Entry(self.clone(), all.len() - 1)
    }

    pub(crate) fn all(&self) -> Vec<Record> {
        self.0.lock().unwrap().clone()
    }
}

impl Entry {
    pub(crate) fn change(&self, change: impl FnOnce(&mut Record)) {
        change(&mut self.0.0.lock().unwrap()[self.1]);
    }

    pub(crate) fn add(&self, bytes: &[u8]) {
        self.change(|r| r.add(bytes));
    }

    pub(crate) fn note(&self, note: impl Into<String>) {
        let note = note.into();
        self.change(|r| r.notes.push(note));
    }
}
