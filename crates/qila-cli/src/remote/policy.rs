//! `qila --host … policy check`: what a daemon says of a policy.
use super::http::Host;
use super::list::text;
use crate::fail::Fail;
use crate::policy::print;
use hyper::Method;
use qila_policy::{MAX_BYTES, VERSION, preset};
use serde_json::{Value, json};
use std::io::Read;
use std::path::Path;

/// What a daemon takes for a policy: the name of a built-in one, or the text of a file.
pub(crate) fn named(policy: &str) -> Result<String, Fail> {
    let looks_like_a_file = policy.contains('/') || policy.ends_with(".yaml") || policy.ends_with(".yml");
    if !looks_like_a_file && preset::find(policy).is_some() {
        return Ok(policy.to_owned());
    }
    let path = Path::new(policy);
    let unread = |e| {
        Fail::io("reading the policy", path, e)
            .hint("name a file, or a built-in policy: see `qila policy list`")
    };
    let bound = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
    let mut read = String::new();
    let file = std::fs::File::open(path).map_err(unread)?;
    file.take(bound.saturating_add(1))
        .read_to_string(&mut read)
        .map_err(unread)?;
    match read.len() > MAX_BYTES {
        true => Err(Fail::new(format!("{policy} has more than {MAX_BYTES} bytes"))),
        false => Ok(read),
    }
}

/// Says whether a policy is sound.
pub(crate) async fn check(host: &Host, policy: &str, json: bool) -> Result<u8, Fail> {
    let mut yaml = named(policy)?;
    if yaml == policy {
        yaml = format!("version: {VERSION}\nextends: {policy}\n");
    }
    let checked = host
        .json(Method::POST, "/v1/policies/check", Some(&json!({"policy": yaml})))
        .await?;
    let ok = checked.get("ok").and_then(Value::as_bool) == Some(true);
    let problems = checked.get("problems").and_then(Value::as_array);
    // The daemon knows the file as policy.yaml.
    let told = |p: &Value| text(p, "text").trim_end().replace("policy.yaml", policy);
    let errors: Vec<String> = problems.into_iter().flatten().map(told).collect();
    if json {
        print(&json!({"policy": policy, "ok": ok, "errors": errors}).to_string());
        return Ok(u8::from(!ok));
    }
    if !ok {
        return Err(Fail::new(errors.join("\n")).code(1));
    }
    print(&format!("{policy}: ok"));
    Ok(0)
}
