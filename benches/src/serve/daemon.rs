//! A daemon of this run's own.
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::client::Client;
use crate::report::Missing;
use crate::scratch::Scratch;

/// How long it may take until it serves, and until it has ended.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running daemon; it is ended when this goes, and its sandboxes before it.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    address: SocketAddr,
    key: String,
}

impl Daemon {
    /// Starts it on a directory of its own and a free port.
    pub fn start(scratch: &Scratch) -> Result<Daemon, Missing> {
        let program = std::env::var_os("QILA_BIN")
            .map(PathBuf::from)
            .ok_or_else(|| Missing::Absent("no `qila` was built (QILA_BIN is unset)".to_owned()))?;
        let home = scratch.sub("serve")?;
        let mut child = Command::new(program)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env("QILA_HOME", home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| Missing::Broken(e.to_string()))?;
        let (say, said) = channel();
        let outputs: [Option<Box<dyn std::io::Read + Send>>; 2] = [
            child.stdout.take().map(|o| Box::new(o) as _),
            child.stderr.take().map(|o| Box::new(o) as _),
        ];
        for output in outputs.into_iter().flatten() {
            let say = say.clone();
            // Read to the end, or it would wait for us.
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    let _ = say.send(line);
                }
            });
        }
        let (mut address, mut key, mut last) = (None, None, String::new());
        let until = Instant::now() + PATIENCE;
        while address.is_none() || key.is_none() {
            let Ok(line) = said.recv_timeout(until.saturating_duration_since(Instant::now())) else {
                drop(child.kill());
                drop(child.wait());
                return Err(Missing::Broken(format!("qila serve did not start: {last}")));
            };
            if let Some((_, at)) = line.split_once("serving at http://") {
                address = at.parse().ok();
            }
            if let Some(secret) = line.strip_prefix("export E2B_API_KEY=e2b_") {
                key = Some(format!("qila_{secret}"));
            } else {
                last = line;
            }
        }
        match (address, key) {
            (Some(address), Some(key)) => Ok(Daemon { child, address, key }),
            _ => Err(Missing::Broken("no address and key".to_owned())),
        }
    }

    /// A connection to it.
    pub fn client(&self) -> Result<Client, String> {
        Client::connect(self.address, &self.key)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends every sandbox, some at once.
    pub fn end_all(&self) -> Result<(), String> {
        loop {
            let page = self
                .client()?
                .want("GET", "/v1/sandboxes?limit=1000", &Value::Null, 200)?;
            let items = page
                .get("items")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default();
            let ids: Vec<String> = items
                .iter()
                .filter_map(|s| s.get("id")?.as_str().map(str::to_owned))
                .collect();
            if ids.is_empty() {
                return Ok(());
            }
            let share = ids.len().div_ceil(8);
            std::thread::scope(|scope| {
                let work: Vec<_> = ids
                    .chunks(share)
                    .map(|some| {
                        scope.spawn(|| {
                            let mut client = self.client()?;
                            some.iter().try_for_each(|id| client.end(id))
                        })
                    })
                    .collect();
                work.into_iter()
                    .try_for_each(|one| one.join().unwrap_or_else(|_| Err("a thread failed".to_owned())))
            })?;
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Err(why) = self.end_all() {
            eprintln!("note: sandboxes may be left: {why}");
        }
        if let Some(pid) = i32::try_from(self.child.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw)
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        drop(self.child.wait());
    }
}
