//! DNS for the sandbox: names that a rule allows get a synthetic address, others are refused; nothing is ever forwarded.
use crate::gate::Gate;
use qila_authorizer::Access as Ask;
use qila_inspect::dns::{Question, Rcode, TYPE_A, answer_address, empty, error, question, refused};
use qila_types::{Access, Decision};
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// Seconds for which an answer may be kept: the address stays the same for the whole run.
const TTL: u32 = 60;
/// Most connections at a time.
const CONNECTIONS: usize = 32;
/// Longest silence on a connection.
const IDLE: Duration = Duration::from_secs(10);
/// Rest after an error of the socket, so that one that stays does not take the processor.
const PAUSE: Duration = Duration::from_millis(20);

/// Answers over UDP until the log is gone.
pub(crate) async fn udp(gate: Rc<Gate>, socket: UdpSocket) {
    let mut buffer = [0u8; 1500];
    loop {
        let Ok((n, from)) = socket.recv_from(&mut buffer).await else {
            sleep(PAUSE).await;
            continue;
        };
        let answer = match answer(&gate, buffer.get(..n).unwrap_or(&[])).await {
            Ok(answer) => answer,
            Err(crate::recorder::Gone) => return,
        };
        if let Some(answer) = answer {
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

/// Answers over TCP.
pub(crate) async fn tcp(gate: Rc<Gate>, listener: TcpListener) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        let gate = gate.clone();
        tokio::task::spawn_local(async move {
            let _ = connection(gate, stream).await;
            drop(permit);
        });
    }
}

async fn connection(gate: Rc<Gate>, mut stream: TcpStream) -> std::io::Result<()> {
    loop {
        let length = timeout(IDLE, stream.read_u16()).await??;
        let mut packet = vec![0u8; usize::from(length)];
        timeout(IDLE, stream.read_exact(&mut packet)).await??;
        let Ok(Some(answer)) = answer(&gate, &packet).await else {
            return Ok(());
        };
        let length = u16::try_from(answer.len()).unwrap_or(0);
        let whole = [&length.to_be_bytes(), answer.as_slice()].concat();
        timeout(IDLE, stream.write_all(&whole)).await??;
    }
}

async fn answer(gate: &Gate, packet: &[u8]) -> Result<Option<Vec<u8>>, crate::recorder::Gone> {
    let asked = match question(packet) {
        Ok(asked) => asked,
        Err(malformed) => return Ok(malformed.answer()),
    };
    let decided = |allowed: bool, rule: Option<usize>, reason: String| Decision {
        access: Access::Dns {
            name: asked.shown.clone(),
            qtype: qtype_name(asked.qtype),
        },
        allowed,
        rule: rule.map(|r| format!("network.allow[{r}]")),
        credential: None,
        reason,
    };
    let Some(name) = &asked.name else {
        gate.recorder
            .noted(decided(false, None, "this is not the name of a host".into()))
            .await?;
        return Ok(Some(refused(&asked)));
    };
    if name.as_str() == "localhost" {
        // The sandbox's own loopback, whose name many programs take for granted (RFC 6761, 6.3).
        return Ok(Some(match asked.qtype {
            TYPE_A => answer_address(&asked, Ipv4Addr::LOCALHOST, TTL),
            _ => empty(&asked),
        }));
    }
    let verdict = gate.rules().authorizer.decide(&Ask::Resolve { name });
    if !verdict.allowed {
        gate.recorder.noted(decided(false, None, verdict.reason)).await?;
        return Ok(Some(refused(&asked)));
    }
    if asked.qtype != TYPE_A {
        // The name exists; it has no record of another type.
        return Ok(Some(empty(&asked)));
    }
    let given = gate.names.borrow_mut().address(name);
    resolved(gate, &asked, given, decided, verdict.rule, verdict.reason).await
}

async fn resolved(
    gate: &Gate,
    asked: &Question,
    given: Option<(Ipv4Addr, bool)>,
    decided: impl Fn(bool, Option<usize>, String) -> Decision,
    rule: Option<usize>,
    reason: String,
) -> Result<Option<Vec<u8>>, crate::recorder::Gone> {
    match given {
        None => {
            let reason = "this run has looked up too many names".to_owned();
            gate.recorder.noted(decided(false, rule, reason)).await?;
            Ok(Some(error(asked.id, Rcode::ServFail)))
        }
        Some((address, new)) => {
            if new {
                gate.recorder.noted(decided(true, rule, reason)).await?;
            }
            Ok(Some(answer_address(asked, address, TTL)))
        }
    }
}

/// The name of a record type, as people know it.
fn qtype_name(qtype: u16) -> String {
    let known = [
        (1, "A"),
        (2, "NS"),
        (5, "CNAME"),
        (6, "SOA"),
        (10, "NULL"),
        (12, "PTR"),
        (15, "MX"),
        (16, "TXT"),
        (28, "AAAA"),
        (33, "SRV"),
        (64, "SVCB"),
        (65, "HTTPS"),
        (255, "ANY"),
    ];
    match known.iter().find(|(n, _)| *n == qtype) {
        Some((_, name)) => (*name).to_owned(),
        None => format!("TYPE{qtype}"),
    }
}
