//! Sandboxes, snapshots and templates as the SDKs read them.
use crate::ENVD_VERSION;
use crate::time::rfc3339;
use qila_api::{OnTimeout, Sandbox, Snapshot, State, Template, TemplateState};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What E2B calls the cluster's client, and no SDK reads.
const CLIENT: &str = "qila";

fn with(mut object: Value, name: &str, value: Option<Value>) -> Value {
    if let (Some(fields), Some(value)) = (object.as_object_mut(), value) {
        fields.insert(name.into(), value);
    }
    object
}

fn moment(ms: u64) -> String {
    rfc3339(i64::try_from(ms).unwrap_or(i64::MAX))
}

/// What whoever made a sandbox, or came back to one, is told. The tokens are meant for them.
pub(super) fn created(sandbox: &Sandbox, domain: &str) -> Value {
    let token = |token: &Option<secrecy::SecretString>| token.as_ref().map(|t| json!(t.expose_secret()));
    let view = json!({
        "sandboxID": sandbox.id.as_str(),
        "templateID": sandbox.template,
        "clientID": CLIENT,
        "envdVersion": ENVD_VERSION,
        "domain": domain,
    });
    let view = with(view, "alias", sandbox.alias.as_ref().map(|a| json!(a)));
    let view = with(view, "envdAccessToken", token(&sandbox.access_token));
    with(view, "trafficAccessToken", token(&sandbox.traffic_token))
}

/// One of a list.
pub(super) fn listed(sandbox: &Sandbox) -> Value {
    let state = match sandbox.state {
        State::Running => "running",
        State::Paused => "paused",
    };
    let view = json!({
        "sandboxID": sandbox.id.as_str(),
        "templateID": sandbox.template,
        "clientID": CLIENT,
        "envdVersion": ENVD_VERSION,
        "startedAt": moment(sandbox.started_ms),
        "endAt": moment(sandbox.ends_ms),
        "cpuCount": sandbox.cpu_milli.div_ceil(1000).max(1),
        "memoryMB": sandbox.memory_mib,
        "diskSizeMB": sandbox.disk_mib,
        "metadata": sandbox.metadata,
        "state": state,
    });
    with(view, "alias", sandbox.alias.as_ref().map(|a| json!(a)))
}

/// All that is known of one.
pub(super) fn detail(sandbox: &Sandbox, domain: &str) -> Value {
    let token = sandbox.access_token.as_ref().map(|t| json!(t.expose_secret()));
    let paused = (sandbox.state == State::Paused).then(|| json!("full"));
    let view = with(listed(sandbox), "domain", Some(json!(domain)));
    let view = with(view, "pauseMode", paused);
    with(view, "envdAccessToken", token)
}

/// What happens when its time is over.
pub(super) fn on_timeout(sandbox: &Sandbox) -> &'static str {
    match sandbox.on_timeout {
        OnTimeout::Kill => "kill",
        OnTimeout::Pause => "pause",
    }
}

/// A snapshot. Its id is a template, as E2B has it.
pub(super) fn snapshot(snapshot: &Snapshot) -> Value {
    let names: Vec<&str> = snapshot.name.as_deref().into_iter().collect();
    json!({"snapshotID": snapshot.id.as_str(), "names": names})
}

/// The number of the one build that a template has: made of its id, so that it is always the same.
pub(super) fn build_id(template: &str) -> String {
    let digest = Sha256::digest(format!("build of {template}"));
    uuid(digest.iter().copied())
}

/// 16 bytes in the shape of a UUID of version 8, which says nothing of how it was made.
pub(super) fn uuid(bytes: impl Iterator<Item = u8>) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.take(16).enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let byte = match at {
            6 => byte & 0x0f | 0x80,
            8 => byte & 0x3f | 0x80,
            _ => byte,
        };
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// How far a template is.
pub(super) fn status(template: &Template) -> &'static str {
    match template.state {
        TemplateState::Building => "building",
        TemplateState::Ready => "ready",
        TemplateState::Failed { .. } => "error",
    }
}

/// A template. What its sandboxes may use is in its policy: the counts here are of no sandbox.
pub(super) fn template(template: &Template) -> Value {
    json!({
        "templateID": template.id,
        "buildID": build_id(&template.id),
        "cpuCount": 1,
        "memoryMB": 0,
        "diskSizeMB": 0,
        "public": template.public,
        "aliases": template.names,
        "names": template.names,
        "createdAt": moment(template.made_ms),
        "updatedAt": moment(template.made_ms),
        "createdBy": null,
        "lastSpawnedAt": null,
        "spawnCount": 0,
        "buildCount": 1,
        "envdVersion": ENVD_VERSION,
        "buildStatus": status(template),
        "description": describe(template),
    })
}

fn describe(template: &Template) -> String {
    use qila_api::Source;
    match &template.source {
        Source::Host => "the host's own system".into(),
        // Where on the host is nobody's business who merely uses it.
        Source::Directory(_) => "a directory of the host".into(),
        Source::Layout(_) => "an image of the host".into(),
        Source::Image(image) => format!("the image {image}"),
        Source::Snapshot(id) => format!("the snapshot {id}"),
    }
}

/// A template and its one build.
pub(super) fn template_with_builds(of: &Template) -> Value {
    let build = json!({
        "buildID": build_id(&of.id),
        "status": status(of),
        "createdAt": moment(of.made_ms),
        "updatedAt": moment(of.made_ms),
        "cpuCount": 1,
        "memoryMB": 0,
        "envdVersion": ENVD_VERSION,
    });
    with(template(of), "builds", Some(json!([build])))
}
