//! The ways from the client to the origin, and how one load is run over one of them.
use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::Value;

use super::keys::{HOST, Keys, PLAIN_HOST};
use super::origin::SECRET;
use super::peers::{self, Peer};
use crate::qila::{Qila, policy};
use crate::report::Missing;
use crate::scratch::Scratch;
use crate::timing::Program;

/// What the agent holds where no sandbox gives it a placeholder.
const PLACEHOLDER: &str = "placeholder-000000000000000000000000000000";

/// One load, as the client takes it.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Kind.
    pub kind: &'static str,
    /// Connections at a time.
    pub connections: usize,
    /// Seconds that are counted.
    pub seconds: f64,
    /// Bytes of an answer.
    pub bytes: usize,
}

impl Load {
    fn words(&self, host: &str, address: &str) -> Vec<String> {
        vec![
            "load".to_owned(),
            self.kind.to_owned(),
            format!("host={host}"),
            format!("address={address}"),
            format!("connections={}", self.connections),
            format!("seconds={}", self.seconds),
            format!("bytes={}", self.bytes),
        ]
    }
}

/// Everything that stands between client and origin.
pub struct Ways {
    workspace: PathBuf,
    keys: Keys,
    origin: SocketAddr,
    client: String,
    nginx: Result<Peer, Missing>,
    mitmproxy: Result<Peer, Missing>,
    qila: Result<(Qila, Vec<String>), Missing>,
}

/// A way's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// No proxy.
    Direct,
    /// nginx.
    Nginx,
    /// mitmproxy.
    Mitmproxy,
    /// From a sandbox, with a credential.
    Qila,
    /// From a sandbox, under a rule that reads requests and has no credential.
    Plain,
}

impl Ways {
    /// Starts the origin and the peers, in a folder.
    pub fn start(scratch: &Scratch, qila: &Result<Qila, Missing>) -> Result<Ways, String> {
        let folder = scratch.sub("gateway")?;
        let workspace = scratch.sub("gateway-workspace")?;
        let keys = Keys::make(&folder)?;
        let origin = super::origin::start(&keys)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let nginx = peers::nginx(&folder, &keys, origin, cores);
        let mitmproxy = peers::mitmproxy(&folder, &keys, origin);
        let qila = qila.as_ref().map_err(Clone::clone).and_then(|qila| {
            qila.has_gateway()?;
            Ok((qila.clone(), options(scratch, &keys, origin)?))
        });
        let client = crate::bulk::own_copy(&workspace)?;
        Ok(Ways {
            workspace,
            keys,
            origin,
            client,
            nginx,
            mitmproxy,
            qila,
        })
    }

    /// The command that runs a load that way.
    pub fn program(&self, way: Way, load: &Load) -> Result<Program, Missing> {
        let outside = |name, to: SocketAddr, key: &str| {
            let mut words = vec![self.client.clone()];
            words.extend(load.words(HOST, &to.to_string()));
            words.push(format!("ca={}", self.keys.authority.display()));
            words.push(format!("key={key}"));
            Program::new(name, &self.workspace, words)
        };
        let at = |peer: &Result<Peer, Missing>| peer.as_ref().map(|peer| peer.address).map_err(Clone::clone);
        match way {
            Way::Direct => Ok(outside("direct", self.origin, SECRET)),
            Way::Nginx => Ok(outside("nginx", at(&self.nginx)?, PLACEHOLDER)),
            Way::Mitmproxy => Ok(outside("mitmproxy", at(&self.mitmproxy)?, PLACEHOLDER)),
            Way::Qila => self.inside("qila", HOST, load),
            Way::Plain => {
                let mut program = self.inside("qila, no credential", PLAIN_HOST, load)?;
                // A placeholder must not go to a host that has no credential.
                program.words.push("key=none".to_owned());
                Ok(program)
            }
        }
    }

    fn inside(&self, name: &'static str, host: &str, load: &Load) -> Result<Program, Missing> {
        let (qila, options) = self.qila.as_ref().map_err(Clone::clone)?;
        let mut command = vec![self.client.clone()];
        command.extend(load.words(host, &format!("{host}:443")));
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        Ok(qila.run(name, &self.workspace, &options, &command))
    }
}

fn options(scratch: &Scratch, keys: &Keys, origin: SocketAddr) -> Result<Vec<String>, String> {
    let text = format!(
        "version: 1\nextends: offline\nnetwork:\n  allow:\n    - host: {HOST}\n      credential: model\n    - host: {PLAIN_HOST}\n      methods: [GET]\n\
         credentials:\n  model:\n    source: env:QILA_BENCH_KEY\n    placement: bearer\n    hosts: [{HOST}]\n    env: [MODEL_API_KEY]\n"
    );
    let path = policy(scratch, "gateway-load", &text)?;
    let mut options = ["--policy", &path, "--isolation", "process"]
        .map(str::to_owned)
        .to_vec();
    options.extend([HOST, PLAIN_HOST].map(|host| format!("--upstream={host}:443={origin}")));
    options.push(format!("--upstream-ca={}", keys.authority.display()));
    Ok(options)
}

/// Runs it once and takes the JSON of its last line.
pub fn run(program: &Program) -> Result<Value, String> {
    let output = program
        .command()
        .output()
        .map_err(|error| format!("{}: no start: {error}", program.name))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let found = text
        .lines()
        .rev()
        .find_map(|line| serde_json::from_str::<Value>(line).ok());
    match found {
        Some(found) if output.status.success() && found.is_object() => Ok(found),
        _ => {
            let why = String::from_utf8_lossy(&output.stderr);
            let last = why
                .lines()
                .rev()
                .find(|line| !line.trim().is_empty())
                .unwrap_or("no message");
            let last: String = last.chars().take(200).collect();
            Err(format!("{} ended with {}: {last}", program.name, output.status))
        }
    }
}

/// Keeps this process, and all that it starts, on the first two of its cores.
pub fn pin() -> String {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let Ok(may) = sched_getaffinity(None) else {
        return "not pinned: the cores cannot be read".to_owned();
    };
    let mut two = CpuSet::new();
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU)
        .filter(|core| may.is_set(*core))
        .take(2)
        .collect();
    cores.iter().for_each(|core| two.set(*core));
    match sched_setaffinity(None, &two) {
        Ok(()) => format!("client, proxy and origin share cores {cores:?}"),
        Err(error) => format!("not pinned: {error}"),
    }
}
