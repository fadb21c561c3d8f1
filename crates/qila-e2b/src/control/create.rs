//! `POST /sandboxes`: a new sandbox.
use super::caller::Caller;
use super::error::Refusal;
use super::json::Json;
use super::network::Network;
use super::origin::Origin;
use super::{Plane, once, snapshots, view};
use axum::extract::State;
use http::{HeaderMap, StatusCode};
use qila_api::{Create, OnTimeout};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// Time of a sandbox whose maker named none, as E2B has it.
const TIMEOUT: Duration = Duration::from_secs(300);
/// Longest time in seconds.
const LONGEST: u64 = 365 * 24 * 3600;
/// Pairs of metadata or variables.
const PAIRS: usize = 256;
/// Bytes of all metadata, and of all variables.
const PAIR_BYTES: usize = 64 << 10;

/// What is asked for. Fields that are not known are passed over: they are those of SDKs to come.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewSandbox {
    #[serde(rename = "templateID")]
    template_id: String,
    timeout: Option<u64>,
    auto_pause: Option<bool>,
    auto_pause_memory: Option<bool>,
    auto_resume: Option<AutoResume>,
    secure: Option<bool>,
    #[serde(rename = "allow_internet_access")]
    allow_internet_access: Option<bool>,
    network: Option<Network>,
    metadata: Option<BTreeMap<String, String>>,
    env_vars: Option<BTreeMap<String, String>>,
    mcp: Option<Value>,
    iam: Option<Value>,
    volume_mounts: Option<Vec<Value>>,
}

#[derive(Debug, Deserialize)]
struct AutoResume {
    enabled: bool,
}

/// A time in seconds.
pub(super) fn seconds(seconds: u64) -> Result<Duration, Refusal> {
    match (1..=LONGEST).contains(&seconds) {
        true => Ok(Duration::from_secs(seconds)),
        false => Err(Refusal::bad(format!("a timeout is 1 to {LONGEST} seconds"))),
    }
}

fn pairs(what: &str, pairs: Option<BTreeMap<String, String>>) -> Result<BTreeMap<String, String>, Refusal> {
    let pairs = pairs.unwrap_or_default();
    let bytes: usize = pairs.iter().map(|(k, v)| k.len() + v.len()).sum();
    if pairs.len() > PAIRS || bytes > PAIR_BYTES {
        return Err(Refusal::bad(format!(
            "`{what}` has up to {PAIRS} entries and {PAIR_BYTES} bytes"
        )));
    }
    Ok(pairs)
}

/// Whether something is asked for.
fn asked(value: &Option<Value>) -> bool {
    value
        .as_ref()
        .is_some_and(|v| !v.is_null() && v.as_object().is_none_or(|o| !o.is_empty()))
}

impl NewSandbox {
    fn wish(self, secure: bool, idempotency_key: Option<String>) -> Result<Create, Refusal> {
        if asked(&self.mcp) {
            return Err(Refusal::bad(
                "`mcp` is not there: start MCP servers inside, and allow their tools in the template's policy",
            ));
        }
        if asked(&self.iam) {
            return Err(Refusal::bad(
                "`iam` is not there: credentials are given in the template's policy, and never enter a sandbox",
            ));
        }
        if self.volume_mounts.is_some_and(|v| !v.is_empty()) {
            return Err(Refusal::bad(
                "`volumeMounts` is not there: give a template `files`, or read and write files over the API",
            ));
        }
        let pause = self.auto_pause.unwrap_or(false);
        if pause && self.auto_pause_memory == Some(false) {
            return Err(Refusal::bad(
                "`autoPauseMemory: false` is not there: a paused sandbox keeps its processes",
            ));
        }
        let auto_resume = self.auto_resume.is_some_and(|a| a.enabled);
        if auto_resume && !pause {
            return Err(Refusal::bad("`autoResume` needs `autoPause`"));
        }
        let network = self.network.unwrap_or_default();
        Ok(Create {
            template: self.template_id,
            timeout: Some(self.timeout.map_or(Ok(TIMEOUT), seconds)?),
            on_timeout: if pause { OnTimeout::Pause } else { OnTimeout::Kill },
            auto_resume,
            metadata: pairs("metadata", self.metadata)?,
            environment: pairs("envVars", self.env_vars)?,
            private_ports: network.allow_public_traffic == Some(false),
            network: network.wish(self.allow_internet_access)?,
            secure: secure || self.secure.unwrap_or(false),
            idempotency_key,
        })
    }
}

type Made = Result<(StatusCode, axum::Json<Value>), Refusal>;

/// Version 1: open to whoever knows its id, unless `secure` says otherwise.
pub(super) async fn create(
    State(plane): State<Plane>,
    caller: Caller,
    origin: Origin,
    headers: HeaderMap,
    Json(new): Json<NewSandbox>,
) -> Made {
    make(plane, caller, origin, headers, new, false).await
}

/// Version 2: always with an access token.
pub(super) async fn create_secure(
    State(plane): State<Plane>,
    caller: Caller,
    origin: Origin,
    headers: HeaderMap,
    Json(new): Json<NewSandbox>,
) -> Made {
    make(plane, caller, origin, headers, new, true).await
}

async fn make(
    plane: Plane,
    caller: Caller,
    origin: Origin,
    headers: HeaderMap,
    new: NewSandbox,
    secure: bool,
) -> Made {
    let key = headers.get("idempotency-key").map(|v| {
        let text = v.to_str().ok().filter(|t| (1..=255).contains(&t.len()));
        text.map(str::to_owned)
            .ok_or_else(|| Refusal::bad("an `Idempotency-Key` has 1 to 255 printable characters"))
    });
    let mut wish = new.wish(secure, key.transpose()?)?;
    wish.template = snapshots::template(&plane, &caller, wish.template).await?;
    let sandbox = once::create(&plane, &caller.tenant, wish).await?;
    Ok((
        StatusCode::CREATED,
        axum::Json(view::created(&sandbox, &origin.0)),
    ))
}
