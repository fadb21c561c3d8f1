//! Speaking to a daemon.
use crate::fail::{Fail, chain};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::convert::Infallible;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Largest answer that is kept, in bytes.
const ANSWER: usize = 16 << 20;
/// How long a connection may take to be made.
const CONNECT: std::time::Duration = std::time::Duration::from_secs(10);

/// What is sent: nothing, a text, or a stream.
pub(crate) type Sent = BoxBody<Bytes, Infallible>;

/// Both ways to a daemon, with TLS or without.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// A daemon, and the key that it knows us by.
pub(crate) struct Host {
    name: String,
    port: u16,
    tls: Option<TlsConnector>,
    key: SecretString,
}

impl Host {
    /// From `http://127.0.0.1:3000` or `https://…`, the file of further authorities, and the environment's key.
    pub(crate) fn parse(url: &str, ca: Option<&Path>) -> Result<Host, Fail> {
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
        let uri: hyper::http::uri::Authority = authority.parse().map_err(|_| wrong("it names no host"))?;
        let name = uri
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let loopback = name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if !secure && !loopback {
            return Err(wrong("its key would travel in the clear").hint("use https://"));
        }
        let key = ["QILA_API_KEY", "E2B_API_KEY"]
            .iter()
            .find_map(|n| std::env::var(n).ok().filter(|v| !v.is_empty()));
        let key = key.ok_or_else(|| {
            Fail::new("there is no key for the daemon")
                .hint("set QILA_API_KEY; `qila key new` makes one where the daemon runs")
                .code(2)
        })?;
        Ok(Host {
            port: uri.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            tls: secure.then(|| tls(ca)).transpose()?,
            name,
            key: key.into(),
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
        let stream = tls.connect(name, stream).await.map_err(|e| fail(&e))?;
        Ok(Box::new(stream))
    }

    /// The address of a WebSocket there.
    pub(crate) fn socket(&self, path: &str) -> String {
        let scheme = if self.tls.is_some() { "wss" } else { "ws" };
        format!("{scheme}://{}:{}{path}", self.name, self.port)
    }

    /// A request with what every one has.
    pub(crate) fn request(&self, method: Method, path: &str) -> hyper::http::request::Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header("host", format!("{}:{}", self.name, self.port))
            .header("user-agent", concat!("qila/", env!("CARGO_PKG_VERSION")))
            .header("x-api-key", self.key.expose_secret())
    }

    /// Asks, and hears how it is answered. A refusal is an error.
    pub(crate) async fn ask(&self, request: Request<Sent>) -> Result<Response<Incoming>, Fail> {
        let lost = |e: &dyn std::error::Error| {
            Fail::new(format!("the daemon went away: {}", chain(e)))
                .hint("what was begun may have been done; see `qila ps`")
        };
        let (mut sender, connection) = handshake(TokioIo::new(self.connect().await?))
            .await
            .map_err(|e| lost(&e))?;
        tokio::spawn(connection);
        let answer = sender.send_request(request).await.map_err(|e| lost(&e))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        Err(refused(answer).await)
    }

    /// Asks for JSON, with or without JSON.
    pub(crate) async fn json(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Fail> {
        let text = body.map(Value::to_string).unwrap_or_default();
        let mut request = self.request(method, path);
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let sent = Full::new(Bytes::from(text)).boxed();
        let request = request.body(sent).map_err(|e| Fail::new(e.to_string()))?;
        let answer = self.ask(request).await?;
        let bytes = whole(answer.into_body()).await?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|e| {
            Fail::new(format!("the daemon answered what is no JSON: {e}")).hint("is it another version?")
        })
    }
}

/// The whole of a body, as far as that is sensible.
pub(crate) async fn whole(body: Incoming) -> Result<Bytes, Fail> {
    let limited = http_body_util::Limited::new(body, ANSWER);
    let collected = limited.collect().await;
    collected
        .map(|c| c.to_bytes())
        .map_err(|e| Fail::new(format!("the answer broke off: {e}")))
}

/// What the daemon says of why not.
async fn refused(answer: Response<Incoming>) -> Fail {
    let status = answer.status();
    let bytes = whole(answer.into_body()).await.unwrap_or_default();
    let problem: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let text = |name: &str| problem.get(name).and_then(Value::as_str).map(str::to_owned);
    let said = text("detail")
        .or_else(|| text("title"))
        .unwrap_or_else(|| status.to_string());
    let mut fail = match status {
        StatusCode::UNAUTHORIZED => Fail::new("the daemon does not know this key")
            .hint("set QILA_API_KEY to one that `qila key new` printed"),
        _ => Fail::new(said),
    };
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

/// Where the daemon is, by the command line or the environment.
pub(crate) fn named(flag: Option<&str>, ca: Option<&PathBuf>) -> Result<Option<Host>, Fail> {
    let env = std::env::var("QILA_HOST").ok().filter(|v| !v.is_empty());
    let url = flag.map(str::to_owned).or(env);
    url.map(|url| Host::parse(&url, ca.map(PathBuf::as_path)))
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_end_a_part_of_a_url_is_escaped() {
        assert_eq!(escaped("a b/ü?&#%"), "a%20b/%C3%BC%3F%26%23%25");
    }
}
