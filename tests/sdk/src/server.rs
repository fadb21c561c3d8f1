//! `qila serve` on a free port with a directory of its own, ended with everything in it when it is dropped.
use crate::ask::{Answer, ask};
use qila_agents::host;
use qila_agents::skip::Skip;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// How long it may take until it serves.
const START: Duration = Duration::from_secs(60);
/// How long it may take to end.
const END: Duration = Duration::from_secs(30);

/// A key, and where it is one.
#[derive(Clone)]
pub struct Key {
    /// Where the server listens.
    pub address: SocketAddr,
    /// The key itself.
    pub secret: String,
}

/// A server.
pub struct Server {
    child: Child,
    /// What its first start said.
    pub key: Key,
    /// Its directory and the programs' own.
    pub scratch: tempfile::TempDir,
}

fn exported(line: &str, name: &str) -> Option<String> {
    line.strip_prefix("export ")?
        .strip_prefix(name)?
        .strip_prefix('=')
        .map(str::to_owned)
}

impl Server {
    /// Starts one. What is not built is skipped.
    pub fn start() -> Result<Server, Skip> {
        let qila = host::qila()?;
        let scratch = host::scratch();
        let log = std::fs::File::create(scratch.path().join("log")).unwrap();
        let mut child = Command::new(qila)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env("QILA_HOME", scratch.path().join("home"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("qila starts");
        let (say, said) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let _ = say.send(line);
            }
        });
        let until = Instant::now() + START;
        let (mut url, mut secret) = (None, None);
        while url.is_none() || secret.is_none() {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(line) = said.recv_timeout(left) else {
                let _ = child.kill();
                let log = std::fs::read_to_string(scratch.path().join("log")).unwrap_or_default();
                panic!("qila serve did not say where it serves: {log}");
            };
            url = url.or_else(|| exported(&line, "E2B_API_URL"));
            secret = secret.or_else(|| exported(&line, "E2B_API_KEY"));
        }
        let address = url
            .unwrap()
            .trim_start_matches("http://")
            .parse()
            .expect("an address");
        Ok(Server {
            child,
            key: Key {
                address,
                secret: secret.unwrap(),
            },
            scratch,
        })
    }

    /// Asks it.
    pub fn ask(&self, method: &str, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        ask(self.key.address, &self.key.secret, method, path, &body).expect("an answer")
    }

    /// Makes a template in whose sandboxes `python3` is the one beneath this directory, and waits until it is ready.
    pub fn with_python(&self, python: &Path) -> &'static str {
        let (name, at) = ("with-python", python.display());
        let policy = format!(
            "version: 1\nresources: {{cpu: 2, memory: 2GiB, disk: 2GiB, processes: 512, wall_time: 1h}}\n\
             filesystem: {{workspace: layer, read: [\"{at}\"]}}\n\
             environment: {{pass: [LANG], set: {{PATH: \"{at}/bin:/usr/local/bin:/usr/bin:/bin\", PYTHONDONTWRITEBYTECODE: 1}}}}\n"
        );
        let body = json!({"source": "host", "policy": policy});
        let put = self.ask("PUT", &format!("/v1/templates/{name}"), &body);
        assert_eq!(put.status, 200, "{}", put.body);
        let until = Instant::now() + START;
        loop {
            let all: Value =
                serde_json::from_str(&self.ask("GET", "/v1/templates", &Value::Null).body).unwrap();
            let found = all
                .as_array()
                .unwrap()
                .iter()
                .find(|t| t["id"] == name)
                .unwrap()
                .clone();
            match found["state"].as_str() {
                Some("ready") => return name,
                Some("building") if Instant::now() < until => std::thread::sleep(Duration::from_millis(50)),
                _ => panic!("the template is not ready: {found}"),
            }
        }
    }

    /// Variables for a program that kills the server and starts another in its place.
    pub fn successor(&self) -> [(&'static str, String); 3] {
        let qila = host::qila().map(|q| q.display().to_string()).unwrap_or_default();
        let home = self.scratch.path().join("home").display().to_string();
        [
            ("QILA_SDK_PID", self.child.id().to_string()),
            ("QILA_SDK_QILA", qila),
            ("QILA_HOME", home),
        ]
    }

    /// What it wrote to its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.scratch.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    /// Sandboxes outlive a server: those that checks left behind are ended first.
    fn drop(&mut self) {
        for _ in 0..100 {
            let Ok(listed) = ask(self.key.address, &self.key.secret, "GET", "/v2/sandboxes", "") else {
                break;
            };
            let all: Value = serde_json::from_str(&listed.body).unwrap_or_default();
            let ids: Vec<&str> = all
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|s| s["sandboxID"].as_str())
                .collect();
            if ids.is_empty() {
                break;
            }
            for id in ids {
                let _ = ask(
                    self.key.address,
                    &self.key.secret,
                    "DELETE",
                    &format!("/sandboxes/{id}"),
                    "",
                );
            }
        }
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").arg(&pid).status();
        let until = Instant::now() + END;
        while Instant::now() < until {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
