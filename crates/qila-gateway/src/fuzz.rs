//! Hostile bytes of an agent's through all that serves HTTP: a launcher that agrees to everything at one end, a small server on
//! loopback at the other.
use crate::config::{Config, Placeholder, Upstream};
use crate::destination::Destination;
use crate::dial::Dialler;
use crate::gate::{Gate, Parts, Rules};
use crate::http::{Session, serve, serve_http2};
use crate::link::{Down, MAX_PACKET, Up, decode, encode, messages};
use crate::recorder::Recorder;
use crate::secrets::Secrets;
use crate::tls::Outward;
use qila_policy::model::HostName;
use qila_policy::{Constitution, NoFiles, Permit, parse};
use std::hash::{DefaultHasher, Hasher};
use std::io::{Read, Write};
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixDatagram;
use tokio::runtime::Runtime;
use tokio::task::LocalSet;

const POLICY: &str = "version: 1
network:
  allow:
    - {host: a.test, port: 80, methods: [GET, POST], paths: ['/v1/**'], credential: key}
    - {host: a.test, port: 80, paths: [/graphql], graphql: {operations: [query]}}
    - {host: a.test, port: 80, paths: [/mcp], mcp: {methods: [tools/list, tools/call], tools: {'read_*': {path: '/data/*'}}}}
    - {host: a.test, port: 80, paths: [/when], when: 'context.body_size < 100'}
credentials:
  key: {source: 'file:/proc/sys/kernel/random/boot_id', placement: bearer, hosts: [a.test]}
";

/// The real value: a text that is there, and that nothing else has.
const SECRET: &str = "/proc/sys/kernel/random/boot_id";
/// What the agent holds.
const PLACEHOLDER: &str = "qila0placeholder0000102030405060708090a0b0c0d0e0f10111213";
/// Longest time for one input.
const PATIENCE: Duration = Duration::from_secs(5);

/// How a client of HTTP/2 begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A gateway that is made once for all inputs.
struct World {
    runtime: Runtime,
    local: LocalSet,
    gate: Rc<Gate>,
}

thread_local! {
    static WORLD: Option<World> = world().ok();
}

type Failed = Box<dyn std::error::Error>;

fn world() -> Result<World, Failed> {
    let policy = parse("fuzz.yaml", POLICY, &mut NoFiles).map_err(|e| e.to_string())?;
    let permit = Permit::grant(policy, &Constitution::default()).map_err(|e| e.to_string())?;
    let upstream = Upstream {
        name: HostName::parse("a.test").ok_or("a name")?,
        port: None,
        address: server()?,
    };
    let config = Config {
        permit: permit.clone(),
        placeholders: vec![Placeholder {
            credential: "key".into(),
            text: PLACEHOLDER.into(),
        }],
        upstreams: vec![upstream.clone()],
        upstream_ca: Vec::new(),
        budgets: Vec::new(),
        prices: None,
        proxy_password: None,
        authority: None,
        leases: None,
        home: None,
        workspace: None,
    };
    let secrets = Secrets::read(&config).map_err(|e| e.to_string())?;
    let (ours, theirs) = qila_sys::pass::pair()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = LocalSet::new();
    let gate = local.block_on(&runtime, async {
        rustix::io::ioctl_fionbio(&theirs, true)?;
        let launcher = UnixDatagram::from_std(theirs.into())?;
        tokio::task::spawn_local(agree(launcher));
        let parts = Parts {
            secrets,
            recorder: Recorder::new(ours)?,
            dialler: Dialler::new(vec![upstream]),
            outward: Outward::new(&[])?,
            authority: None,
            door: None,
            spending: None,
            prices: None,
        };
        Ok::<_, Failed>(Rc::new(Gate::new(Rules::of(&permit, 1)?, parts)))
    })?;
    let listening = gate.clone();
    local.spawn_local(async move { listening.recorder.listen(drop).await });
    let draining = gate.clone();
    local.spawn_local(async move { draining.recorder.drain().await });
    Ok(World { runtime, local, gate })
}

/// A server that says back whatever it is asked, the real value with it, and closes.
fn server() -> std::io::Result<std::net::SocketAddr> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            std::thread::spawn(move || {
                let _ = stream.set_read_timeout(Some(PATIENCE));
                let mut head = Vec::new();
                let mut piece = [0u8; 1024];
                while !head.windows(4).any(|w| w == b"\r\n\r\n") && head.len() < 1 << 17 {
                    match stream.read(&mut piece) {
                        Ok(n @ 1..) => head.extend_from_slice(piece.get(..n).unwrap_or(&[])),
                        _ => return,
                    }
                }
                let answer = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
                let _ = stream.write_all(&[answer.as_bytes(), &head].concat());
            });
        }
    });
    Ok(address)
}

/// The launcher's part: everything is durable at once.
async fn agree(link: UnixDatagram) {
    let mut buffer = vec![0u8; MAX_PACKET];
    while let Ok(n @ 1..) = link.recv(&mut buffer).await {
        for message in messages(buffer.get(..n).unwrap_or(&[])) {
            let Ok(Up::Event { seq, wait, .. }) = decode::<Up>(message) else {
                continue;
            };
            if wait && let Ok(packet) = encode(&Down::Written { through: seq }) {
                let _ = link.send(&packet).await;
            }
        }
    }
}

/// Feeds a connection of an agent's with hostile bytes: of HTTP/2 if the first one is odd, behind a good beginning, else of
/// HTTP/1.1.
///
/// # Panics
///
/// If the connection does not end when the agent's side of it has, or if the agent is sent the real value of a credential.
#[expect(clippy::panic, reason = "each of them is a find")]
pub fn fuzz_http(bytes: &[u8]) {
    let answer = exchange(bytes).unwrap_or_else(|why| panic!("{why}"));
    let secret = std::fs::read(SECRET).unwrap_or_default();
    let secret = secret.trim_ascii();
    // An input that has it, for a fuzzer may learn it from a comparison, is told what it said itself.
    if secret.is_empty() || (holds(&answer, secret) && !holds(bytes, secret)) {
        panic!("the agent was sent the real value");
    }
}

/// Whether a text holds another; by a sum, from which a fuzzer that watches comparisons learns nothing.
fn holds(text: &[u8], secret: &[u8]) -> bool {
    let sum = |bytes: &[u8]| {
        let mut hasher = DefaultHasher::new();
        hasher.write(bytes);
        hasher.finish()
    };
    let wanted = sum(secret);
    text.windows(secret.len()).any(|w| sum(w) == wanted)
}

/// What an agent that sends these bytes is sent.
fn exchange(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let (first, rest) = bytes.split_first().unwrap_or((&0, &[]));
    let http2 = first & 1 == 1;
    WORLD.with(|world| {
        let World { runtime, local, gate } = world.as_ref().ok_or("the gateway could not be made")?;
        let gate = gate.clone();
        local.block_on(runtime, async move {
            let (agent, ours) = tokio::io::duplex(256 * 1024);
            let to = Destination::parse("a.test").ok_or("no name")?;
            let session = Session::fixed(to, 80, false);
            let serving = tokio::task::spawn_local(async move {
                match http2 {
                    true => serve_http2(gate, ours, session).await,
                    false => serve(gate, ours, session).await,
                }
            });
            let (mut read, mut write) = tokio::io::split(agent);
            let sending = async {
                if http2 {
                    let _ = write.write_all(PREFACE).await;
                }
                let _ = write.write_all(rest).await;
                let _ = write.shutdown().await;
            };
            let mut answer = Vec::new();
            let both = async {
                let _ = tokio::join!(sending, read.read_to_end(&mut answer));
                serving.await
            };
            match tokio::time::timeout(PATIENCE, both).await {
                Ok(Ok(())) => Ok(answer),
                Ok(Err(e)) => Err(e.to_string()),
                Err(_) => Err("the connection did not end".to_owned()),
            }
        })
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_request_reaches_the_server_and_its_answer_the_agent() {
        let ask = |path: &str| {
            format!(
                "\0GET {path} HTTP/1.1\r\nHost: a.test\r\nAuthorization: Bearer {}\r\n\r\n",
                super::PLACEHOLDER
            )
        };
        let answer = super::exchange(ask("/v1/a").as_bytes()).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 200 OK") && answer.contains("GET /v1/a"),
            "{answer}"
        );
        assert!(answer.contains(&"*".repeat(36)), "{answer}");
        let refused = super::exchange(ask("/other").as_bytes()).unwrap();
        assert!(refused.starts_with(b"HTTP/1.1 403"));
    }
}
