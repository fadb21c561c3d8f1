//! Server-sent events, as they come.
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;
use std::time::Duration;
use tokio::time::timeout;

/// Longest event that is read.
const LONGEST: usize = 4 << 20;

/// One event.
#[derive(Debug, Clone)]
pub struct Said {
    /// Its name.
    pub name: String,
    /// Its number.
    pub id: u64,
    /// What it says.
    pub data: Value,
}

/// A stream of them.
pub struct Events {
    body: Incoming,
    rest: Vec<u8>,
}

impl Events {
    /// Of an answer's body.
    pub fn of(body: Incoming) -> Events {
        Events {
            body,
            rest: Vec::new(),
        }
    }

    /// The next; none at the end of the stream, however it came.
    pub async fn next(&mut self) -> Option<Said> {
        loop {
            if let Some(end) = self.rest.windows(2).position(|w| w == b"\n\n") {
                let block: Vec<u8> = self.rest.drain(..end + 2).collect();
                match event(&String::from_utf8_lossy(&block)) {
                    Some(said) => return Some(said),
                    None => continue,
                }
            }
            let frame = self.body.frame().await?.ok()?;
            let piece: Bytes = frame.into_data().unwrap_or_default();
            self.rest.extend_from_slice(&piece);
            assert!(self.rest.len() < LONGEST, "an event without end");
        }
    }

    /// The next, if one comes in this time.
    pub async fn within(&mut self, time: Duration) -> Option<Said> {
        timeout(time, self.next()).await.ok().flatten()
    }
}

/// Of a block of lines; none: a comment.
fn event(block: &str) -> Option<Said> {
    let field = |name: &str| {
        block
            .lines()
            .find_map(|l| l.strip_prefix(name).map(|v| v.trim_start().to_owned()))
    };
    Some(Said {
        name: field("event:")?,
        id: field("id:").and_then(|id| id.parse().ok()).unwrap_or(0),
        data: serde_json::from_str(&field("data:")?).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::event;

    #[test]
    fn events_are_read_and_comments_passed_over() {
        let said = event("event: stdout\nid: 7\ndata: {\"data\":\"x\"}\n\n").unwrap();
        assert_eq!(
            (said.name.as_str(), said.id, said.data["data"].as_str()),
            ("stdout", 7, Some("x"))
        );
        assert!(event(":\n\n").is_none());
    }
}
