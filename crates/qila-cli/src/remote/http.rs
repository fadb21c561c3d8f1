//! Speaking to a daemon.
use crate::fail::{Fail, chain};
use crate::ps::harmless;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Largest answer that is kept, in bytes.
const ANSWER: usize = 16 << 20;
/// How long a connection may take to be made, and one that was used to be free again.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a question may take to be answered. The daemon itself gives up after two minutes.
const ANSWERED: Duration = Duration::from_secs(180);
/// Largest file with a key, in bytes.
const KEY_FILE: u64 = 4096;

/// What is sent: nothing, a text, or a stream, which breaks off if what it is read from does.
pub(crate) type Sent = BoxBody<Bytes, std::io::Error>;

/// Nothing.
pub(crate) fn nothing() -> Sent {
    Full::default().map_err(|never| match never {}).boxed()
}

/// Where a daemon is and how it is spoken to, as the command line says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    /// `--host`.
    pub url: Option<String>,
    /// `--host-ca`.
    pub ca: Option<PathBuf>,
    /// `--key-file`.
    pub key_file: Option<PathBuf>,
    /// `--host-insecure`.
    pub insecure: bool,
}

/// Both ways to a daemon, with TLS or without.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// A daemon, and the key that it knows us by.
#[derive(Clone)]
pub(crate) struct Host {
    name: String,
    port: u16,
    tls: Option<TlsConnector>,
    key: SecretString,
    /// A connection that was used and may be used again: a copy of many files is not many connections.
    idle: Arc<Mutex<Option<SendRequest<Sent>>>>,
}

impl Host {
    /// From `http://127.0.0.1:3000` or `https://…`, with a key from a file or the environment.
    pub(crate) fn parse(url: &str, asked: &Asked) -> Result<Host, Fail> {
        let wrong = |why: &str| {
            Fail::new(format!("--host {url}: {why}"))
                .hint("such as http://127.0.0.1:3000")
                .code(2)
        };
        let (secure, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err(wrong("it is neither http:// nor https://")),
        };
        let authority = rest.trim_end_matches('/');
        if authority.contains('@') {
            return Err(wrong("a key is not part of it"));
        }
        let uri: hyper::http::uri::Authority = authority.parse().map_err(|_| wrong("it names no host"))?;
        let name = uri
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let loopback = name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if !secure && !loopback && !asked.insecure {
            return Err(wrong("the key would travel in the clear")
                .hint("use https://, or --host-insecure if what is between is yours"));
        }
        Ok(Host {
            port: uri.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            tls: secure.then(|| tls(asked.ca.as_deref())).transpose()?,
            name,
            key: key(asked.key_file.as_deref())?,
            idle: Arc::default(),
        })
    }

    /// A connection of its own.
    pub(crate) async fn connect(&self) -> Result<Box<dyn Wire>, Fail> {
        let fail = |e: &dyn std::fmt::Display| {
            Fail::new(format!(
                "the daemon at {}:{} cannot be reached: {e}",
                self.name, self.port
            ))
            .hint("is `qila serve` running there? --host and QILA_HOST say where")
        };
        let stream = tokio::time::timeout(CONNECT, TcpStream::connect((self.name.as_str(), self.port))).await;
        let stream = stream
            .map_err(|_| fail(&"it does not answer"))?
            .map_err(|e| fail(&e))?;
        let _ = stream.set_nodelay(true); // a matter of speed only
        let Some(tls) = &self.tls else {
            return Ok(Box::new(stream));
        };
        let name = ServerName::try_from(self.name.clone()).map_err(|e| fail(&e))?;
        let greeted = tokio::time::timeout(CONNECT, tls.connect(name, stream)).await;
        let stream = greeted
            .map_err(|_| fail(&"it does not greet"))?
            .map_err(|e| fail(&e).hint("--host-ca names further authorities to verify it against"))?;
        Ok(Box::new(stream))
    }

    /// Its name and port, as in a URL.
    pub(crate) fn authority(&self) -> String {
        match self.name.contains(':') {
            true => format!("[{}]:{}", self.name, self.port),
            false => format!("{}:{}", self.name, self.port),
        }
    }

    /// The address of a WebSocket there.
    pub(crate) fn socket(&self, path: &str) -> String {
        let scheme = if self.tls.is_some() { "wss" } else { "ws" };
        format!("{scheme}://{}{path}", self.authority())
    }

    /// A request with what every one has.
    pub(crate) fn request(&self, method: Method, path: &str) -> hyper::http::request::Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.authority())
            .header("user-agent", concat!("qila/", env!("CARGO_PKG_VERSION")))
            .header("x-api-key", self.key.expose_secret())
    }

    /// Asks, and hears how it is answered. A refusal is an error.
    pub(crate) async fn ask(&self, request: Request<Sent>) -> Result<Response<Incoming>, Fail> {
        let answer = self.hear(request, true).await?;
        match answer.status().is_success() {
            true => Ok(answer),
            false => Err(refused(answer).await),
        }
    }

    /// Asks for what is answered for a long time, on a connection of its own.
    pub(crate) async fn start(&self, request: Request<Sent>) -> Result<Response<Incoming>, Fail> {
        let answer = self.hear(request, false).await?;
        match answer.status().is_success() {
            true => Ok(answer),
            false => Err(refused(answer).await),
        }
    }

    /// Asks, and hears how it is answered; nothing, if there is no such thing.
    pub(crate) async fn find(&self, request: Request<Sent>) -> Result<Option<Response<Incoming>>, Fail> {
        let answer = self.hear(request, true).await?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => Ok(Some(answer)),
            _ => Err(refused(answer).await),
        }
    }

    async fn hear(&self, request: Request<Sent>, again: bool) -> Result<Response<Incoming>, Fail> {
        let lost = |e: &dyn std::error::Error| gone(&chain(e));
        let mut sender = self.sender().await?;
        let answer = sender.send_request(request).await.map_err(|e| lost(&e))?;
        if again {
            *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        }
        Ok(answer)
    }

    /// The connection that was used before, if it is free again, or a new one.
    async fn sender(&self) -> Result<SendRequest<Sent>, Fail> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut sender) = idle
            && matches!(tokio::time::timeout(CONNECT, sender.ready()).await, Ok(Ok(())))
        {
            return Ok(sender);
        }
        let (sender, connection) = handshake(TokioIo::new(self.connect().await?))
            .await
            .map_err(|e| gone(&chain(&e)))?;
        tokio::spawn(connection);
        Ok(sender)
    }

    /// Asks for JSON that may not be there.
    pub(crate) async fn look(&self, path: &str) -> Result<Option<Value>, Fail> {
        let request = self.request(Method::GET, path).body(nothing());
        let request = request.map_err(|e| Fail::new(e.to_string()))?;
        let heard = async {
            match self.find(request).await? {
                Some(answer) => whole(answer.into_body()).await.map(Some),
                None => Ok(None),
            }
        };
        let heard = tokio::time::timeout(ANSWERED, heard).await;
        let bytes = heard.map_err(|_| gone("it does not answer"))??;
        bytes.map(|bytes| json(&bytes)).transpose()
    }

    /// Asks for JSON, with or without JSON.
    pub(crate) async fn json(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Fail> {
        let text = body.map(Value::to_string).unwrap_or_default();
        let mut request = self.request(method, path);
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let sent = Full::new(Bytes::from(text)).map_err(|never| match never {});
        let request = request.body(sent.boxed()).map_err(|e| Fail::new(e.to_string()))?;
        let heard = async { whole(self.ask(request).await?.into_body()).await };
        let heard = tokio::time::timeout(ANSWERED, heard).await;
        let bytes = heard.map_err(|_| gone("it does not answer"))??;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        json(&bytes)
    }
}

fn json(bytes: &[u8]) -> Result<Value, Fail> {
    serde_json::from_slice(bytes).map_err(|e| {
        Fail::new(format!("the daemon answered what is no JSON: {e}")).hint("is it of another version?")
    })
}

/// A key from a file or the environment; never from the command line, which others see.
fn key(file: Option<&Path>) -> Result<SecretString, Fail> {
    if let Some(path) = file {
        let fail = |e: std::io::Error| Fail::io("reading --key-file", path, e).code(2);
        let mut text = zeroize::Zeroizing::new(String::new());
        let opened = std::fs::File::open(path).map_err(fail)?;
        opened.take(KEY_FILE).read_to_string(&mut text).map_err(fail)?;
        return match text.trim() {
            "" => Err(Fail::new(format!("--key-file {} is empty", path.display())).code(2)),
            key => Ok(key.into()),
        };
    }
    let found = ["QILA_API_KEY", "E2B_API_KEY"]
        .iter()
        .find_map(|n| std::env::var(n).ok().filter(|v| !v.is_empty()));
    found.map(SecretString::from).ok_or_else(|| {
        Fail::new("there is no key for the daemon")
            .hint("set QILA_API_KEY, or name a file with --key-file; `qila key new` makes one where the daemon runs")
            .code(2)
    })
}

/// The daemon was there and is no more.
pub(crate) fn gone(why: &str) -> Fail {
    Fail::new(format!("the daemon went away: {why}"))
        .hint("what was begun may have been done, and goes on; see `qila ps` when it is back")
}

/// The whole of a body, as far as that is sensible.
pub(crate) async fn whole(body: Incoming) -> Result<Bytes, Fail> {
    let limited = http_body_util::Limited::new(body, ANSWER);
    let collected = limited.collect().await;
    collected
        .map(|c| c.to_bytes())
        .map_err(|e| Fail::new(format!("the answer broke off: {e}")))
}

/// Seconds after which it may be asked again, if it says so.
pub(crate) fn after(headers: &hyper::HeaderMap) -> Option<u32> {
    headers.get("retry-after")?.to_str().ok()?.parse().ok()
}

async fn refused(answer: Response<Incoming>) -> Fail {
    let (status, after) = (answer.status(), after(answer.headers()));
    let bytes = tokio::time::timeout(CONNECT, whole(answer.into_body())).await;
    refusal(
        status,
        after,
        &bytes.ok().and_then(Result::ok).unwrap_or_default(),
    )
}

/// What the daemon says of why not.
pub(crate) fn refusal(status: StatusCode, after: Option<u32>, body: &[u8]) -> Fail {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| problem.get(name).and_then(Value::as_str).map(harmless);
    let said = text("detail")
        .or_else(|| text("title"))
        .unwrap_or_else(|| status.to_string());
    let ours = text("type").is_some_and(|t| t.starts_with("urn:qila:problem:"));
    let mut fail = match status {
        StatusCode::UNAUTHORIZED if ours => Fail::new("the daemon does not know this key").hint(
            "set QILA_API_KEY, or --key-file, to one that `qila key new` printed where the daemon runs",
        ),
        _ if ours => Fail::new(said),
        // Said by something that is no daemon, or by one that does not know what it was asked.
        _ => Fail::new(format!("the host answered {status}, not as a daemon does"))
            .hint("is `qila serve` there, and is it of this version?"),
    };
    if let Some(seconds) = after {
        fail = fail.hint(format!("again in {seconds} s"));
    }
    if let Some(hint) = text("hint") {
        fail = fail.hint(hint);
    }
    match text("clause") {
        Some(clause) => fail.clause(clause),
        None => fail,
    }
}

fn tls(ca: Option<&Path>) -> Result<TlsConnector, Fail> {
    let mut roots = RootCertStore::empty();
    for cert in rustls_native_certs::load_native_certs().certs {
        let _ = roots.add(cert); // one that cannot be used verifies nothing
    }
    if let Some(path) = ca {
        let fail = |e: &dyn std::fmt::Display| {
            Fail::new(format!("reading --host-ca {}: {e}", path.display())).code(2)
        };
        let certs = CertificateDer::pem_file_iter(path).map_err(|e| fail(&e))?;
        for cert in certs {
            roots.add(cert.map_err(|e| fail(&e))?).map_err(|e| fail(&e))?;
        }
    }
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|e| Fail::new(e.to_string()))?;
    Ok(TlsConnector::from(Arc::new(
        config.with_root_certificates(roots).with_no_client_auth(),
    )))
}

/// A part of a path or query, with everything escaped that is not plain.
pub(crate) fn escaped(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~/".contains(&b);
    let byte = |b: u8| {
        if plain(b) {
            char::from(b).to_string()
        } else {
            format!("%{b:02X}")
        }
    };
    text.bytes().map(byte).collect()
}

/// Where the daemon is, by the command line or else by the environment.
pub(crate) fn named(asked: &Asked, heed_environment: bool) -> Result<Option<Host>, Fail> {
    let env = || {
        std::env::var("QILA_HOST")
            .ok()
            .filter(|v| heed_environment && !v.is_empty())
    };
    let url = asked.url.clone().or_else(env);
    url.map(|url| Host::parse(&url, asked)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_end_a_part_of_a_url_is_escaped() {
        assert_eq!(escaped("a b/ü?&#%"), "a%20b/%C3%BC%3F%26%23%25");
    }

    #[test]
    fn a_key_never_travels_in_the_clear_unasked() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        std::fs::write(&file, "qila_00\n").unwrap();
        let mut asked = Asked {
            key_file: Some(file),
            ..Asked::default()
        };
        let mut tried = |url: &str, insecure| {
            asked.insecure = insecure;
            Host::parse(url, &asked)
                .map(|h| h.authority())
                .map_err(|f| f.message)
        };
        assert_eq!(tried("http://127.0.0.1:3000/", false).unwrap(), "127.0.0.1:3000");
        assert_eq!(tried("http://[::1]:3000", false).unwrap(), "[::1]:3000");
        assert_eq!(tried("http://localhost", false).unwrap(), "localhost:80");
        assert_eq!(tried("https://a.example", false).unwrap(), "a.example:443");
        for url in [
            "http://a.example",
            "http://10.0.0.1:3000",
            "http://localhost.evil.example",
        ] {
            assert!(tried(url, false).unwrap_err().contains("in the clear"), "{url}");
            assert!(tried(url, true).is_ok(), "{url}");
        }
        for url in [
            "",
            "a.example",
            "ftp://a.example",
            "https://",
            "http://u:p@127.0.0.1/",
            "http://127.0.0.1/v1",
        ] {
            assert!(tried(url, true).is_err(), "{url}");
        }
    }
}
