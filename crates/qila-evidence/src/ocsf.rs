//! Events in the Open Cybersecurity Schema Framework, version 1.8.
use qila_types::{Access, Decision, Event, EventKind, Outcome, StopReason};
use serde_json::{Map, Value, json};

/// The version of the schema.
pub const OCSF_VERSION: &str = "1.8.0";

mod class {
    pub const FILE: u32 = 1001;
    pub const PROCESS: u32 = 1007;
    pub const EVENT_LOG: u32 = 1008;
    pub const USER_ACCESS: u32 = 3005;
    pub const NETWORK: u32 = 4001;
    pub const HTTP: u32 = 4002;
    pub const DNS: u32 = 4003;
    pub const APPLICATION: u32 = 6002;
}

mod severity {
    pub const INFORMATIONAL: u32 = 1;
    pub const LOW: u32 = 2;
    pub const MEDIUM: u32 = 3;
    pub const HIGH: u32 = 4;
}

const OTHER: u32 = 99;
const SUCCESS: u32 = 1;
const FAILURE: u32 = 2;

/// Class, activity, severity and the attributes of its own.
type Mapped = (u32, u32, u32, Value);

/// Maps an event to an OCSF event. What has no place in the schema is under `unmapped`, whole.
pub fn ocsf(event: &Event) -> Value {
    let run = event.run.as_ref().map(|run| run.as_str());
    let (class_uid, activity_id, severity_id, own) = mapped(&event.kind, run.unwrap_or("log"));
    let mut out = Map::new();
    if let Value::Object(own) = own {
        out.extend(own);
    }
    let common = json!({
        "category_uid": class_uid / 1000,
        "class_uid": class_uid,
        "activity_id": activity_id,
        "type_uid": class_uid * 100 + activity_id,
        "severity_id": severity_id,
        "time": event.time_ms,
        "metadata": {
            "version": OCSF_VERSION,
            "product": {"name": "Qila", "vendor_name": "Qila", "version": env!("CARGO_PKG_VERSION")},
            "log_name": "evidence",
            "correlation_uid": run,
            "profiles": (4000..5000).contains(&class_uid).then_some(["security_control"]),
        },
        "unmapped": serde_json::to_value(&event.kind).unwrap_or_default(),
    });
    if let Value::Object(common) = common {
        out.extend(common);
    }
    if let Some(Value::Object(metadata)) = out.get_mut("metadata") {
        metadata.retain(|_, value| !value.is_null());
    }
    Value::Object(out)
}

fn mapped(kind: &EventKind, run: &str) -> Mapped {
    use severity::{HIGH, INFORMATIONAL, LOW, MEDIUM};
    let process =
        |activity, severity, own: Value| (class::PROCESS, activity, severity, merged(process(run), own));
    let log = |activity, severity, detail: String| {
        let own = json!({"log_name": "evidence", "log_provider": "Qila", "status_detail": detail});
        (class::EVENT_LOG, activity, severity, own)
    };
    match kind {
        EventKind::LogOpened { version } => log(6, INFORMATIONAL, format!("created by Qila {version}")),
        EventKind::LogRecovered { dropped_bytes } => log(
            8,
            LOW,
            format!("{dropped_bytes} bytes of an unfinished commit cut off"),
        ),
        EventKind::Gap { lost, reason } => log(OTHER, HIGH, format!("{lost} events lost: {reason}")),
        EventKind::Launch {
            command, unenforced, ..
        } => {
            let severity = if unenforced.is_empty() {
                INFORMATIONAL
            } else {
                MEDIUM
            };
            let own = merged(process_of(run, command), json!({"status_id": 0}));
            (class::PROCESS, 1, severity, own)
        }
        EventKind::Started => process(1, INFORMATIONAL, json!({"status_id": SUCCESS})),
        EventKind::Refused { clause, reason } => {
            let own = json!({
                "app": {"name": "Qila sandbox", "uid": run},
                "status_id": FAILURE,
                "status_detail": format!("{clause}: {reason}"),
            });
            (class::APPLICATION, 3, MEDIUM, own)
        }
        EventKind::Decision(decision) => access(decision, run),
        EventKind::LeaseCreated { credential } => {
            (class::USER_ACCESS, 1, INFORMATIONAL, lease(run, credential))
        }
        EventKind::LeaseRevoked { credential } => {
            (class::USER_ACCESS, 2, INFORMATIONAL, lease(run, credential))
        }
        EventKind::RevocationAsked { credentials, by_uid } => {
            let all = match credentials.as_slice() {
                [] => "*".to_owned(),
                names => names.join(", "),
            };
            let asked = json!({
                "status_id": 0,
                "actor": {"user": {"uid": by_uid.to_string()}},
                "status_detail": "asked for",
            });
            (class::USER_ACCESS, 2, LOW, merged(lease(run, &all), asked))
        }
        EventKind::LeaseUnrevoked { credential, reason } => {
            let failed = json!({"status_id": FAILURE, "status_detail": reason});
            (
                class::USER_ACCESS,
                2,
                HIGH,
                merged(lease(run, credential), failed),
            )
        }
        EventKind::Limit {
            clause,
            limit,
            stopped,
        } => {
            let detail = json!({"status_detail": format!("{clause} limit {limit} reached")});
            process(
                if *stopped { 2 } else { OTHER },
                if *stopped { MEDIUM } else { LOW },
                detail,
            )
        }
        EventKind::Exit { outcome, .. } => process(2, ended(outcome), exit(outcome)),
        EventKind::Apply { paths, digest } => {
            let detail = format!("{paths} paths, SHA-256 {digest}");
            (class::FILE, 3, INFORMATIONAL, workspace(run, &detail))
        }
        EventKind::Discard => (class::FILE, 4, INFORMATIONAL, workspace(run, "changes discarded")),
        EventKind::Claimed { tenant } => process(
            OTHER,
            INFORMATIONAL,
            json!({"actor": {"user": {"name": tenant}}, "status_id": SUCCESS, "status_detail": "given to a tenant"}),
        ),
        EventKind::Kill { by_uid } => process(
            2,
            LOW,
            json!({"actor": {"user": {"uid": by_uid.to_string()}}, "status_id": SUCCESS}),
        ),
        EventKind::GatewayStarted { address, .. } => {
            let own = json!({
                "app": {"name": "Qila gateway", "uid": run},
                "status_id": SUCCESS,
                "status_detail": format!("listens on {address}"),
            });
            (class::APPLICATION, 3, INFORMATIONAL, own)
        }
        EventKind::GatewayEnded => {
            let own = json!({"app": {"name": "Qila gateway", "uid": run}, "status_id": SUCCESS});
            (class::APPLICATION, 4, INFORMATIONAL, own)
        }
        EventKind::ModelCall(call) => {
            let own = json!({
                "app": {"name": "Qila gateway", "uid": run},
                "status_id": SUCCESS,
                "status_detail": format!("{} at {}: {} tokens in, {} out", call.model, call.host, call.input, call.output),
            });
            (class::APPLICATION, OTHER, INFORMATIONAL, own)
        }
        EventKind::PolicyChanged {
            policy_digest,
            by_uid,
        } => {
            let own = json!({
                "app": {"name": "Qila sandbox", "uid": run},
                "actor": {"user": {"uid": by_uid.to_string()}},
                "status_id": SUCCESS,
                "status_detail": format!("rules changed to policy {policy_digest}"),
            });
            (class::APPLICATION, OTHER, LOW, own)
        }
        EventKind::Reclaimed { found } => {
            let own = json!({
                "app": {"name": "Qila sandbox", "uid": run},
                "status_id": SUCCESS,
                "status_detail": found.join("\n"),
            });
            (class::APPLICATION, 2, LOW, own)
        }
    }
}

fn merged(mut base: Value, own: Value) -> Value {
    if let (Value::Object(base), Value::Object(own)) = (&mut base, own) {
        base.extend(own);
    }
    base
}

/// The sandbox as the device, and Qila as the actor, which the classes of the system category ask for.
fn device(run: &str) -> Value {
    json!({
        "device": {"type_id": OTHER, "type": "Sandbox", "uid": run},
        "actor": {"app_name": "Qila"},
    })
}

fn process(run: &str) -> Value {
    merged(device(run), json!({"process": {"uid": run}}))
}

fn process_of(run: &str, command: &[String]) -> Value {
    let name = command
        .first()
        .map_or("", |first| first.rsplit('/').next().unwrap_or_default());
    let process = json!({"uid": run, "name": name, "cmd_line": command.join(" ")});
    merged(device(run), json!({"process": process}))
}

fn workspace(run: &str, detail: &str) -> Value {
    let own =
        json!({"file": {"name": "workspace", "type_id": 2}, "status_id": SUCCESS, "status_detail": detail});
    merged(device(run), own)
}

fn lease(run: &str, credential: &str) -> Value {
    json!({
        "user": {"name": run, "uid": run, "type_id": OTHER, "type": "Sandbox"},
        "privileges": [format!("credential:{credential}")],
        "status_id": SUCCESS,
    })
}

fn ended(outcome: &Outcome) -> u32 {
    match outcome.reason {
        StopReason::Finished => severity::INFORMATIONAL,
        StopReason::Killed | StopReason::Orphaned => severity::LOW,
        StopReason::Limit { .. } => severity::MEDIUM,
        StopReason::FailedClosed { .. } => severity::HIGH,
    }
}

fn exit(outcome: &Outcome) -> Value {
    let fine = outcome.reason == StopReason::Finished && outcome.code == Some(0);
    let detail = match &outcome.reason {
        StopReason::Finished => outcome
            .signal
            .map_or("finished".to_owned(), |s| format!("signal {s}")),
        StopReason::Limit { clause, limit } => format!("{clause} limit {limit} reached"),
        StopReason::Killed => "killed".to_owned(),
        StopReason::FailedClosed { what } => format!("failed closed: {what}"),
        StopReason::Orphaned => "the supervising process vanished".to_owned(),
    };
    let own = json!({"status_id": if fine { SUCCESS } else { FAILURE }, "status_detail": detail});
    let code = outcome.code.map_or(json!({}), |code| json!({"exit_code": code}));
    merged(own, code)
}

fn access(decision: &Decision, run: &str) -> Mapped {
    let endpoint = |host: &str, port: u16| match host.parse::<std::net::IpAddr>() {
        Ok(address) => json!({"ip": address.to_string(), "port": port}),
        Err(_) => json!({"hostname": host, "port": port}),
    };
    let (class_uid, activity, own) = match &decision.access {
        Access::Dns { name, qtype } => (
            class::DNS,
            1,
            json!({"query": {"hostname": name, "type": qtype, "class": "IN"}}),
        ),
        Access::Connect { host, port } => (
            class::NETWORK,
            if decision.allowed { 1 } else { 5 },
            json!({"dst_endpoint": endpoint(host, *port)}),
        ),
        Access::Http {
            host,
            port,
            method,
            path,
        } => {
            let request = json!({
                "http_method": method,
                "url": {"hostname": host, "port": port, "path": path},
            });
            let own = json!({"dst_endpoint": endpoint(host, *port), "http_request": request});
            (class::HTTP, http_activity(method), own)
        }
    };
    let (verdict, status, severity) = match decision.allowed {
        true => (1, SUCCESS, severity::INFORMATIONAL),
        false => (2, FAILURE, severity::LOW),
    };
    let common = json!({
        "src_endpoint": {"type_id": OTHER, "type": "Sandbox", "uid": run},
        "action_id": verdict,
        "disposition_id": verdict,
        "status_id": status,
        "status_detail": decision.reason,
    });
    let rule = decision
        .rule
        .as_ref()
        .map_or(json!({}), |rule| json!({"firewall_rule": {"uid": rule}}));
    (class_uid, activity, severity, merged(merged(own, common), rule))
}

fn http_activity(method: &str) -> u32 {
    const METHODS: [&str; 9] = [
        "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT", "TRACE", "PATCH",
    ];
    METHODS
        .iter()
        .zip(1..)
        .find(|(name, _)| **name == method)
        .map_or(OTHER, |(_, id)| id)
}
