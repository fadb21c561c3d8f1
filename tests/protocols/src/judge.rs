//! Verdicts: from what the server saw, and from what the client showed.
use crate::row::Row;
use crate::rule::Rule;
use crate::server::Record;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// What is wrong.
pub type Verdict = Result<(), String>;

/// What one case left behind.
pub struct Trace<'a> {
    /// What the client showed; none if it showed nothing.
    pub shown: Option<&'a Value>,
    /// What arrived.
    pub seen: Vec<&'a Record>,
    /// The real key that the host insists on.
    pub key: &'a str,
}

fn check(good: bool, what: impl FnOnce() -> String) -> Verdict {
    good.then_some(()).ok_or_else(what)
}

fn digest(length: usize) -> String {
    Sha256::digest(vec![b'p'; length])
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

impl Trace<'_> {
    fn shown(&self) -> Result<&Value, String> {
        let shown = self.shown.ok_or("the client printed nothing")?;
        match shown["lost"].as_str() {
            Some(lost) => Err(format!("the client ended: {}", lost.trim())),
            None => Ok(shown),
        }
    }

    fn short(&self) -> String {
        let text = self.shown.map(Value::to_string).unwrap_or_default();
        text.chars().take(500).collect()
    }
}

/// What is allowed works as if there was no wall.
pub fn allowed(row: &Row, size: usize, trace: &Trace) -> Verdict {
    let shown = trace.shown()?;
    if let Some(lie) = row.feature.strip_prefix("lie-") {
        return lied(lie, shown);
    }
    if row.feature == "never" {
        check(trace.seen.iter().any(|r| r.target.contains("/never")), || {
            "nothing arrived".into()
        })?;
        check(!shown["error"].is_null(), || "silence was answered".into())?;
        let ended = trace
            .seen
            .iter()
            .any(|r| r.notes.iter().any(|n| n == "cancelled"));
        return check(ended, || {
            "the upstream was not told that the client had gone".into()
        });
    }
    check(shown["error"].is_null(), || {
        format!("the client failed: {}", shown["error"])
    })?;
    let first = trace.seen.first().ok_or("nothing arrived at the server")?;
    if row.rule == Rule::Credential && !trace.key.is_empty() {
        let bearer = format!("Bearer {}", trace.key);
        let real = |r: &&&Record| {
            r.header("authorization") == Some(&bearer) || r.header("x-api-key") == Some(trace.key)
        };
        let without = trace.seen.iter().find(|r| !real(r));
        check(without.is_none(), || {
            format!("arrived without the real key: {without:?}")
        })?;
    }
    if row.client.script.starts_with("grpc") {
        return grpc(row.feature, shown, first);
    }
    let status = shown["status"].as_u64().unwrap_or(0);
    let wanted = match row.feature {
        "range" => 206,
        "websocket" => 101,
        "refuse" => 417,
        _ => 200,
    };
    check(status == wanted, || format!("status {status}: {}", trace.short()))?;
    version(row, shown)?;
    let body = shown["body"].as_str().unwrap_or_default();
    let echoed: Value = serde_json::from_str(body).unwrap_or(Value::Null);
    match row.feature {
        "upload" | "body" | "expect" => {
            let good = echoed["sha256"] == digest(size).as_str() && first.length == size;
            check(good, || format!("{} bytes arrived of {size}", first.length))?;
            check(row.feature != "expect" || shown["continued"] != false, || {
                "there was no 100 Continue".into()
            })
        }
        "range" => {
            let part: String = (100..200u8).map(|i| char::from(b'a' + i % 26)).collect();
            check(
                body == part && shown["headers"]["content-range"] == "bytes 100-199/1000",
                || format!("another part: {}", trace.short()),
            )
        }
        "gzip" | "br" | "zstd" => {
            check(
                body.starts_with("the same words, again and again; the same"),
                || format!("not decoded: {}", trace.short()),
            )?;
            // Where credentials are masked, the gateway asks for plain text.
            let coded = format!("coded {}", row.feature);
            let coded = first.notes.contains(&coded);
            check(coded != (row.rule == Rule::Credential), || {
                format!("sent as {:?}", first.notes)
            })
        }
        "sse" => {
            let all = (0..4u64).map(Value::from).collect::<Vec<_>>();
            let sse = trace.seen.iter().find(|r| r.target.contains("/sse"));
            check(shown["events"] == Value::Array(all), || {
                format!("events {}", shown["events"])
            })?;
            let late = sse.is_none_or(|r| r.notes.iter().any(|n| n.starts_with("late")));
            check(!late, || "an event was held back".into())
        }
        "large" => {
            let fields = (0..12).filter(|n| {
                shown["headers"][format!("x-large-{n}")]
                    .as_str()
                    .is_some_and(|v| v.len() == 1000)
            });
            let arrived = (0..8).filter(|n| {
                first
                    .header(&format!("x-big-{n}"))
                    .is_some_and(|v| v.len() == 900)
            });
            check(fields.count() == 12 && arrived.count() == 8, || {
                "fields are missing".into()
            })
        }
        "trailers" => {
            let sum = [&shown["trailers"]["x-sum"], &shown["headers"]["x-sum"]];
            check(
                body == "one two three" && sum.iter().any(|s| *s == "three-parts"),
                || format!("no field after the body: {}", trace.short()),
            )
        }
        "websocket" => {
            let got = shown["messages"].as_array().map_or(0, Vec::len);
            let same = shown["messages"][2] == "snowman \u{2603}" && shown["binary"] == 76_800;
            check(got == 3 && same && shown["closed"] == 1000, || {
                format!("messages: {}", trace.short())
            })
        }
        "tools" | "arguments" if row.client.name == "mcp" => check(body.ends_with("was called"), || {
            format!("the tool was not called: {}", trace.short())
        }),
        "server-request" => check(body == "heard an answer" && shown["asked"][0] == "what?", || {
            format!("the server did not reach the client: {}", trace.short())
        }),
        "graphql" => check(echoed["data"]["viewer"]["login"] == "me", || trace.short()),
        _ if row.client.protocol == "model API" => {
            let tools = !row.feature.contains("tools")
                || shown["calls"][0].as_str().is_some_and(|c| c.contains("fort"));
            check(
                body.starts_with("You sent ") && body.ends_with("I repeat it.") && tools,
                || trace.short(),
            )
        }
        _ => Ok(()),
    }
}

/// The version that the client shows, where it shows one.
fn version(row: &Row, shown: &Value) -> Verdict {
    let got = shown["version"].as_str().unwrap_or_default();
    let wanted = if row.client.version == "h2c" {
        "2"
    } else {
        row.client.version
    };
    check(got.is_empty() || got == wanted, || {
        format!("HTTP/{got} was spoken, not HTTP/{wanted}")
    })
}

fn lied(lie: &str, shown: &Value) -> Verdict {
    let status = shown["status"].as_u64().unwrap_or(0);
    let body = shown["body"].as_str().unwrap_or_default();
    let failed = !shown["error"].is_null() || status >= 500;
    check(!body.contains("smuggled"), || {
        "another answer came through".into()
    })?;
    match lie {
        "long" => check(failed || body == "right", || format!("body {body:?}")),
        _ => check(failed, || format!("passed as whole: {status} {body:?}")),
    }
}

fn grpc(feature: &str, shown: &Value, first: &Record) -> Verdict {
    check(shown["grpc"] == "OK", || {
        format!("status {}: {}", shown["grpc"], shown["error"])
    })?;
    let wanted = match feature {
        "unary" => serde_json::json!(["word"]),
        "server-stream" => serde_json::json!(["word 0", "word 1", "word 2", "word 3", "word 4"]),
        "client-stream" => serde_json::json!(["abc"]),
        _ => serde_json::json!(["word 0", "word 1", "word 2", "word 3"]),
    };
    check(shown["messages"] == wanted, || {
        format!("messages {}", shown["messages"])
    })?;
    check(shown["trailers"]["x-after"] == "trailer", || {
        "no fields after the body".into()
    })?;
    check(first.version == "HTTP/2", || format!("{} arrived", first.version))
}

/// What is denied does not arrive, and the client is told why.
pub fn denied(row: &Row, trace: &Trace) -> Verdict {
    let shown = trace.shown()?;
    let arrived = trace.seen.iter().find(|r| match row.client.name {
        // A session begins before a tool is denied.
        "mcp" if row.rule == Rule::Mcp => match row.feature {
            "server-request" => r.notes.iter().any(|n| n == "client answered"),
            "arguments" => r.notes.iter().any(|n| n.starts_with("tool ")),
            _ => r.notes.iter().any(|n| n == "tool drop_all"),
        },
        _ if row.feature == "redirect" => r.host == "other.test",
        _ if row.rule == Rule::Body => r.notes.iter().any(|n| n == "complete"),
        _ => true,
    });
    check(arrived.is_none(), || {
        format!("it arrived: {arrived:?}").chars().take(400).collect()
    })?;
    let error = shown["error"].as_str().unwrap_or_default();
    if row.feature == "redirect" || row.rule == Rule::Host {
        return check(!error.is_empty(), || format!("no error: {}", trace.short()));
    }
    if row.client.script.starts_with("grpc") {
        let told = shown["grpc"] == "PERMISSION_DENIED" && !error.is_empty();
        return check(told, || format!("gRPC status {}: {error}", shown["grpc"]));
    }
    if row.client.name == "mcp" {
        let quiet = row.feature == "server-request" && shown["asked"].as_array().is_some_and(Vec::is_empty);
        return check(quiet || !error.is_empty(), || {
            format!("no error: {}", trace.short())
        });
    }
    let status = shown["status"].as_u64().unwrap_or(0);
    check((400..500).contains(&status), || {
        format!("not refused with a 4xx: {}", trace.short())
    })?;
    // One library does not show the body of a refused handshake.
    if row.client.name == "aiohttp" && row.feature == "websocket" {
        return Ok(());
    }
    let body: Value = serde_json::from_str(shown["body"].as_str().unwrap_or_default()).unwrap_or(Value::Null);
    let kind = body["error"]["type"].as_str().unwrap_or_default();
    let message = body["error"]["message"].as_str().unwrap_or_default();
    let names = kind != "qila_denied" || !body["error"]["ask_for"].is_null();
    check(kind.starts_with("qila_") && !message.is_empty() && names, || {
        format!("the refusal does not name the rule: {}", trace.short())
    })?;
    let early = row.feature != "expect" || shown["sent"].as_u64().unwrap_or(0) == 0;
    check(early, || {
        format!(
            "the body was sent although it was refused: {} bytes",
            shown["sent"]
        )
    })
}
