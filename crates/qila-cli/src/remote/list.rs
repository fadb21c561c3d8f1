//! Looking at what a daemon has.
use super::http::{Host, escaped};
use crate::fail::Fail;
use crate::policy::print;
use crate::ps::harmless;
use http_body_util::{BodyExt, Empty};
use hyper::Method;
use serde_json::Value;

/// Items of one page.
const PAGE: usize = 100;

/// Every sandbox.
pub(crate) async fn sandboxes(host: &Host) -> Result<Vec<Value>, Fail> {
    pages(host, "/v1/sandboxes").await
}

/// Every item of a list.
pub(crate) async fn pages(host: &Host, path: &str) -> Result<Vec<Value>, Fail> {
    let mut all = Vec::new();
    let mut cursor = None;
    loop {
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
            let value = serde_json::json!({"run": sandbox["id"], "state": sandbox["state"], "tier": sandbox["tier"],
                "template": sandbox["template"], "started_ms": sandbox["started_ms"], "ends_ms": sandbox["ends_ms"],
                "metadata": sandbox["metadata"]});
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
    let request = host
        .request(Method::GET, "/v1/events")
        .header("accept", "text/event-stream");
    let request = request
        .body(Empty::new().boxed())
        .map_err(|e| Fail::new(e.to_string()))?;
    let mut body = host.ask(request).await?.into_body();
    let mut held = String::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| Fail::new(format!("the daemon went away: {e}")))?;
        let Ok(bytes) = frame.into_data() else { continue };
        held.push_str(&String::from_utf8_lossy(&bytes));
        while let Some((line, rest)) = held.split_once('\n') {
            let line = line.trim_end().to_owned();
            held = rest.to_owned();
            if let Some(event) = line
                .strip_prefix("data:")
                .and_then(|t| serde_json::from_str::<Value>(t.trim()).ok())
            {
                let id = text(&event, "sandbox").to_owned();
                if run.is_none_or(|wanted| id.starts_with(wanted)) {
                    show(&event, &id, json);
                }
            }
        }
    }
    Err(Fail::new("the daemon ended the stream"))
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
