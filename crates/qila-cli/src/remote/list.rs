//! Looking at what a daemon has.
use super::http::{Host, escaped, gone, nothing};
use crate::fail::Fail;
use crate::policy::print;
use crate::ps::harmless;
use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Incoming;
use serde_json::Value;

/// Items of one page, and most pages.
const PAGE: usize = 1000;
const PAGES: usize = 1000;
/// Largest event that is read, in bytes.
const EVENT: usize = 1 << 20;

/// Every sandbox.
pub(crate) async fn sandboxes(host: &Host) -> Result<Vec<Value>, Fail> {
    pages(host, "/v1/sandboxes").await
}

/// Every item of a list.
pub(crate) async fn pages(host: &Host, path: &str) -> Result<Vec<Value>, Fail> {
    let mut all = Vec::new();
    let mut cursor = None;
    for _ in 0..PAGES {
        let after = cursor
            .map(|c: String| format!("&after={}", escaped(&c)))
            .unwrap_or_default();
        let page = host
            .json(Method::GET, &format!("{path}?limit={PAGE}{after}"), None)
            .await?;
        let items = page
            .get("items")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        all.extend(items);
        cursor = page.get("next").and_then(Value::as_str).map(str::to_owned);
        if cursor.is_none() {
            return Ok(all);
        }
    }
    Err(Fail::new("the list has no end"))
}

pub(crate) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or("")
}

/// `qila --host … ps`.
pub(crate) async fn ps(host: &Host, json: bool) -> Result<u8, Fail> {
    if !json {
        print(&format!("{:20}  {:9}  {:9}  TEMPLATE", "RUN", "STATE", "TIER"));
    }
    for sandbox in sandboxes(host).await? {
        if json {
            let of = |name: &str| sandbox.get(name).cloned().unwrap_or_default();
            let value = serde_json::json!({"run": of("id"), "state": of("state"), "tier": of("tier"),
                "template": of("template"), "started_ms": of("started_ms"), "ends_ms": of("ends_ms"),
                "metadata": of("metadata")});
            print(&value.to_string());
        } else {
            let [id, state, tier, template] =
                ["id", "state", "tier", "template"].map(|n| harmless(text(&sandbox, n)));
            print(&format!("{id:20}  {state:9}  {tier:9}  {template}"));
        }
    }
    Ok(0)
}

/// `qila --host … doctor`.
pub(crate) async fn doctor(host: &Host, json: bool) -> Result<u8, Fail> {
    let health = host.json(Method::GET, "/healthz", None).await?;
    if json {
        print(&health.to_string());
        return Ok(0);
    }
    print("the daemon answers");
    for (name, value) in health.as_object().into_iter().flatten() {
        print(&harmless(&format!("  {name}: {value}")));
    }
    Ok(0)
}

/// `qila --host … log`: what happened to one sandbox, or what happens from now on to all.
pub(crate) async fn log(host: &Host, run: Option<&str>, follow: bool, json: bool) -> Result<u8, Fail> {
    if !follow {
        let run = run.ok_or_else(|| {
            Fail::new("a daemon is asked about one sandbox")
                .hint("name it, or use --follow; the whole record is `qila log` where the daemon runs")
                .code(2)
        })?;
        let id = super::sandbox::find(host, run).await?;
        let lines = host
            .json(Method::GET, &format!("/v1/sandboxes/{}/logs", escaped(&id)), None)
            .await?;
        let items = lines.get("items").unwrap_or(&lines);
        for line in items.as_array().into_iter().flatten() {
            show(line, &id, json);
        }
        return Ok(0);
    }
    let id = match run {
        Some(wanted) => Some(super::sandbox::find(host, wanted).await?),
        None => None,
    };
    let request = host
        .request(Method::GET, "/v1/events")
        .header("accept", "text/event-stream")
        .body(nothing());
    let request = request.map_err(|e| Fail::new(e.to_string()))?;
    let mut events = Events::of(host.start(request).await?.into_body());
    while let Some((_, event)) = events.next().await? {
        let of = text(&event, "sandbox").to_owned();
        if id.as_ref().is_none_or(|id| *id == of) {
            show(&event, &of, json);
        }
    }
    Err(gone("it ended the stream"))
}

/// Server-sent events with JSON in them.
pub(crate) struct Events {
    body: Incoming,
    held: Vec<u8>,
    name: String,
}

impl Events {
    /// From the body of an answer.
    pub(crate) fn of(body: Incoming) -> Events {
        Events {
            body,
            held: Vec::new(),
            name: String::new(),
        }
    }

    /// The next one's name and data; nothing at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<(String, Value)>, Fail> {
        loop {
            while let Some(end) = self.held.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.held.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line);
                let line = line.trim_end();
                if let Some(name) = line.strip_prefix("event:") {
                    name.trim().clone_into(&mut self.name);
                }
                // This daemon writes the data of an event as one line.
                if let Some(data) = line.strip_prefix("data:") {
                    let data = serde_json::from_str(data.trim())
                        .map_err(|e| Fail::new(format!("the daemon told what is no JSON: {e}")))?;
                    return Ok(Some((std::mem::take(&mut self.name), data)));
                }
            }
            if self.held.len() > EVENT {
                return Err(Fail::new("the daemon told more than an event may be"));
            }
            let Some(frame) = self.body.frame().await else {
                return Ok(None);
            };
            let frame = frame.map_err(|e| gone(&e.to_string()))?;
            if let Ok(bytes) = frame.into_data() {
                self.held.extend_from_slice(&bytes);
            }
        }
    }
}

fn show(line: &Value, id: &str, json: bool) {
    if json {
        print(&line.to_string());
        return;
    }
    let time = line.get("time_ms").and_then(Value::as_u64).unwrap_or(0);
    let what = match text(line, "kind") {
        "" => text(line, "message"),
        kind => kind,
    };
    let fields = line.get("fields").and_then(Value::as_object);
    let fields: Vec<String> = fields
        .into_iter()
        .flatten()
        .map(|(k, v)| format!("{k} {}", v.as_str().unwrap_or("")))
        .collect();
    print(&harmless(&format!(
        "{}  {id}  {what:10} {}",
        crate::line::time(time),
        fields.join("  ")
    )));
}
