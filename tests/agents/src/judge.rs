//! What must be true after a run, whichever agent it was.
use crate::agent::Agent;
use crate::canary::Key;
use crate::model::ModelServer;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The server saw the real key, by the real name, on every request; and the agent's tools did what they were told.
pub fn conversation(agent: Agent, server: &ModelServer, sandboxed: bool) {
    let seen = server.seen();
    assert!(seen.len() >= 4, "only {} requests reached the server", seen.len());
    let line = format!("POST {}", agent.dialect().path());
    for exchange in &seen {
        assert_eq!(
            exchange.status, 200,
            "{} was answered {}",
            exchange.line, exchange.status
        );
        assert!(exchange.real_key, "a request without the real key");
        assert_eq!(exchange.line.split('?').next().unwrap(), line);
        if sandboxed {
            assert_eq!(exchange.sni.as_deref(), Some(agent.dialect().host()));
            assert_eq!(exchange.host.as_deref(), Some(agent.dialect().host()));
        }
    }
    let results = server.tool_results();
    let failing = results.iter().position(|r| r.contains("FAILED (failures=1)"));
    let passing = results
        .iter()
        .position(|r| r.contains("Ran 2 tests") && r.contains("OK"));
    assert!(
        failing.is_some() && failing < passing,
        "the tests did not fail and then pass: {results:#?}"
    );
}

/// The probe's report, which it sent to the model as a tool's result.
#[derive(Debug)]
pub struct Report(Value);

impl Report {
    /// Finds it among the tool results. A tool may wrap its output in JSON of its own.
    pub fn of(server: &ModelServer) -> Report {
        let results = server.tool_results();
        let report = results.iter().find_map(|r| {
            let wrapped = serde_json::from_str::<Value>(r).ok();
            let text = wrapped.as_ref().and_then(|w| w["output"].as_str()).unwrap_or(r);
            text.lines().find_map(|l| {
                serde_json::from_str::<Value>(l)
                    .ok()
                    .filter(|v| v["found"].is_object())
            })
        });
        Report(report.unwrap_or_else(|| panic!("the probe did not report: {results:#?}")))
    }

    /// Where it found this secret, as `memory 7` or `files /tmp/x`.
    pub fn places(&self, key: &Key) -> Vec<String> {
        let list = self.0["found"][key.digest()].as_array();
        list.map_or_else(Vec::new, |l| {
            l.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        })
    }

    /// What came of its attempt to reach a host that no rule allows.
    pub fn collector(&self) -> &str {
        self.0["collector"].as_str().unwrap_or_default()
    }

    /// How many things of a kind it could read.
    pub fn looked(&self, kind: &str) -> u64 {
        self.0["looked"][kind].as_u64().unwrap_or(0)
    }
}

/// The decisions among the events of `qila log --json`: one event a line, or one array.
pub fn decisions(log: &str) -> Vec<Value> {
    fn collect(value: &Value, out: &mut Vec<Value>) {
        match value {
            Value::Array(items) => items.iter().for_each(|v| collect(v, out)),
            Value::Object(fields) if fields.contains_key("allowed") && fields.contains_key("access") => {
                out.push(value.clone());
            }
            Value::Object(fields) => fields.values().for_each(|v| collect(v, out)),
            _ => {}
        }
    }
    let mut out = Vec::new();
    let values = serde_json::Deserializer::from_str(log).into_iter::<Value>();
    values.for_each(|v| collect(&v.expect("the log is JSON"), &mut out));
    out
}

/// The log tells of the credential's use, as often as the server was called, and of the host that was refused.
pub fn recorded(agent: Agent, log: &str, requests: usize) {
    let all = decisions(log);
    let host = agent.dialect().host();
    let used = |d: &&Value| {
        d["allowed"] == true
            && d["credential"].is_string()
            && d["access"]["host"] == host
            && d["access"]["access"] == "http"
    };
    assert_eq!(
        all.iter().filter(used).count(),
        requests,
        "credential uses recorded: {log}"
    );
    let refused = |d: &Value| d["allowed"] == false && d["access"].to_string().contains("collector.example");
    assert!(
        all.iter().any(refused),
        "the refused host is not in the log: {log}"
    );
}

/// The files of the evidence log that hold something.
pub fn evidence_files(state: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut todo = vec![state.join("evidence")];
    while let Some(path) = todo.pop() {
        match path.symlink_metadata() {
            Ok(meta) if meta.is_dir() => {
                todo.extend(std::fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
            }
            Ok(meta) if meta.is_file() && meta.len() > 0 => files.push(path),
            _ => {}
        }
    }
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_are_found_in_lines_and_in_arrays() {
        let event = r#"{"time_ms":1,"event":"decision","access":{"access":"dns","name":"collector.example"},"allowed":false}"#;
        let other = r#"{"time_ms":1,"event":"started"}"#;
        assert_eq!(decisions(&format!("{event}\n{other}\n")).len(), 1);
        assert_eq!(
            decisions(&format!(r#"[{{"index":3,"record":{event}}},{other}]"#)).len(),
            1
        );
    }

    #[test]
    #[should_panic(expected = "credential uses recorded")]
    fn a_use_that_is_not_recorded_is_noticed() {
        recorded(Agent::Pi, "", 1);
    }
}
