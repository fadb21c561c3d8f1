//! For clients that only know `HTTP_PROXY`: the gateway's own port, spoken to directly.
use crate::connection::{self, reset};
use crate::destination::Destination;
use crate::gate::{Gate, denied};
use crate::http::{self, Session};
use crate::prefixed::Prefixed;
use qila_authorizer::Access as Ask;
use qila_types::Access;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest head of a CONNECT request.
const MAX_HEAD: usize = 8 * 1024;
/// What is said to who does not know the password.
pub(crate) const NO_KEY: &str = "this proxy is used with its password: see what `qila gateway` printed";
/// How it is to be given.
pub(crate) const CHALLENGE: &str = "Basic realm=\"qila\"";
const PATIENCE: Duration = Duration::from_secs(10);

/// What a proxy is asked.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// More bytes are needed.
    More,
    /// A tunnel; the length of the head.
    Connect(Tunnel),
    /// A request to be passed on, or nonsense: hyper will tell.
    Request,
}

/// What a tunnel is asked for with.
#[derive(Debug, PartialEq, Eq)]
struct Tunnel {
    authority: String,
    /// `Proxy-Authorization`.
    key: Option<String>,
    /// Length of the head.
    length: usize,
}

/// Serves a client that takes the gateway for a proxy.
pub(crate) async fn serve(gate: Rc<Gate>, mut stream: TcpStream) -> std::io::Result<()> {
    let mut first = Vec::new();
    let Tunnel {
        authority,
        key,
        length,
    } = loop {
        match asked(&first) {
            Asked::More => {
                let mut buffer = [0u8; 2048];
                let n = timeout(PATIENCE, stream.read(&mut buffer)).await??;
                if n == 0 {
                    return Ok(());
                }
                first.extend(buffer.get(..n).unwrap_or(&[]));
            }
            Asked::Connect(tunnel) => break tunnel,
            Asked::Request => {
                http::serve(gate, Prefixed::new(first, stream), Session::proxy()).await;
                return Ok(());
            }
        }
    };
    if let Some(door) = &gate.door
        && !door.opens(key.unwrap_or_default().as_bytes())
    {
        let host: String = authority.chars().take(255).collect();
        let access = Access::Connect { host, port: 0 };
        let _ = gate.recorder.noted(denied(access, NO_KEY)).await;
        return answer(&mut stream, "407 Proxy Authentication Required", NO_KEY).await;
    }
    let target = authority
        .rsplit_once(':')
        .and_then(|(host, port)| Some((Destination::parse(host)?, port.parse::<u16>().ok()?)));
    let Some((to, port)) = target else {
        let host: String = authority.chars().take(255).collect();
        let access = Access::Connect { host, port: 0 };
        let _ = gate
            .recorder
            .noted(denied(access, "CONNECT wants HOST:PORT"))
            .await;
        return answer(&mut stream, "400 Bad Request", "CONNECT wants HOST:PORT").await;
    };
    let verdict = gate.rules().authorizer.decide(&Ask::Connect {
        host: to.as_host(),
        port,
    });
    if !verdict.allowed {
        let access = Access::Connect {
            host: to.to_string(),
            port,
        };
        let decision = gate.decision(access, &verdict);
        let _ = gate.recorder.noted(decision).await;
        return answer(&mut stream, "403 Forbidden", &verdict.reason).await;
    }
    stream
        .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
        .await?;
    let rest = first.split_off(length.min(first.len()));
    // From here on it is a connection like any other: what it then speaks must agree with where it goes.
    connection::route(gate, rest, stream, to, port).await
}

async fn answer(stream: &mut TcpStream, status: &str, reason: &str) -> std::io::Result<()> {
    let body = serde_json::json!({"error": {"type": "qila_denied", "message": reason}}).to_string();
    let head = format!(
        "HTTP/1.1 {status}\r\n{}content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        match status.starts_with("407") {
            true => format!("proxy-authenticate: {CHALLENGE}\r\n"),
            false => String::new(),
        },
        body.len()
    );
    let done = stream.write_all(format!("{head}{body}").as_bytes()).await;
    if done.is_err() {
        reset(stream);
    }
    done
}

/// Reads the head of a CONNECT request: strict, since what follows it is taken for the tunnel's first bytes.
fn asked(first: &[u8]) -> Asked {
    const VERB: &[u8] = b"CONNECT ";
    let n = first.len().min(VERB.len());
    if first.get(..n) != VERB.get(..n) {
        return Asked::Request;
    }
    let Some(end) = first.windows(4).position(|w| w == b"\r\n\r\n") else {
        return if first.len() > MAX_HEAD {
            Asked::Request
        } else {
            Asked::More
        };
    };
    let head = first.get(..end).and_then(|h| std::str::from_utf8(h).ok());
    let Some(head) = head.filter(|h| end <= MAX_HEAD && !h.replace("\r\n", "").contains(char::is_control))
    else {
        return Asked::Request;
    };
    let line = head.split("\r\n").next().unwrap_or("");
    match line.split(' ').collect::<Vec<_>>().as_slice() {
        ["CONNECT", authority, "HTTP/1.1" | "HTTP/1.0"] if bodyless(head) => Asked::Connect(Tunnel {
            authority: (*authority).to_owned(),
            key: key(head),
            length: end + 4,
        }),
        _ => Asked::Request,
    }
}

/// The one `Proxy-Authorization`; two are none.
fn key(head: &str) -> Option<String> {
    let mut keys = head.split("\r\n").skip(1).filter_map(|l| {
        let (name, value) = l.split_once(':')?;
        name.eq_ignore_ascii_case("proxy-authorization")
            .then(|| value.trim().to_owned())
    });
    keys.next().filter(|_| keys.next().is_none())
}

/// A CONNECT with a body is how one request is hidden behind another.
fn bodyless(head: &str) -> bool {
    !head.split("\r\n").skip(1).any(|l| {
        let l = l.to_ascii_lowercase();
        l.starts_with("content-length") || l.starts_with("transfer-encoding")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_is_read_strictly() {
        let head = b"CONNECT a.org:443 HTTP/1.1\r\nHost: a.org:443\r\n\r\n";
        let tunnel = |key: Option<&str>, length| {
            Asked::Connect(Tunnel {
                authority: "a.org:443".into(),
                key: key.map(str::to_owned),
                length,
            })
        };
        assert_eq!(asked(head), tunnel(None, head.len()));
        let keyed = b"CONNECT a.org:443 HTTP/1.1\r\nproxy-Authorization: Basic x\r\n\r\n";
        assert_eq!(asked(keyed), tunnel(Some("Basic x"), keyed.len()));
        let twice = b"CONNECT a.org:443 HTTP/1.1\r\nProxy-Authorization: a\r\nProxy-Authorization: b\r\n\r\n";
        assert_eq!(asked(twice), tunnel(None, twice.len()));
        for n in 0..head.len() {
            assert_eq!(asked(&head[..n]), Asked::More, "{n}");
        }
        for other in [
            &b"GET http://a.org/ HTTP/1.1\r\n"[..],
            b"CONNECT a.org:443  HTTP/1.1\r\n\r\n",
            b"CONNECT a.org:443 HTTP/1.1\r\nContent-Length: 5\r\n\r\n",
            b"CONNECT a.org:443 HTTP/1.1\r\nX: a\nHost: b\r\n\r\n",
            b"CONNECT a.org:443\0 HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(
                asked(other),
                Asked::Request,
                "{:?}",
                String::from_utf8_lossy(other)
            );
        }
    }
}
