//! One request and its answer, redirects followed, every body bounded.
use super::connect::Connector;
use super::error::PullError;
use super::host_of;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, HOST, LOCATION, RANGE, USER_AGENT};
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use std::time::Duration;

/// How long an answer may take to begin, and each piece of it to come.
const PATIENCE: Duration = Duration::from_secs(60);
/// Most redirects.
const MAX_REDIRECTS: usize = 5;
const MAX_HEAD: usize = 64 * 1024;

/// What is asked.
#[derive(Clone, Default)]
pub(super) struct Ask {
    pub accept: Option<&'static str>,
    pub authorization: Option<HeaderValue>,
    /// From which byte on.
    pub from: u64,
}

/// An answer whose body comes in pieces.
pub(super) struct Answer {
    pub head: http::response::Parts,
    body: Incoming,
    host: String,
    /// Closes the connection when the answer is no longer wanted.
    _connection: Running,
}

struct Running(tokio::task::JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Answer {
    /// That it came to nothing.
    pub(super) fn failed(&self, why: impl Into<String>) -> PullError {
        PullError::Exchange {
            host: self.host.clone(),
            why: why.into(),
        }
    }

    /// The next piece; none at the end.
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>, PullError> {
        loop {
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await;
            match frame.map_err(|_| self.failed("nothing came for a minute"))? {
                None => return Ok(None),
                Some(Err(e)) => return Err(self.failed(chain(&e))),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// The whole body, if it has no more bytes than this.
    pub(super) async fn whole(mut self, most: u64, what: &str) -> Result<Vec<u8>, PullError> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.piece().await? {
            if (bytes.len() + piece.len()) as u64 > most {
                return Err(PullError::Content {
                    what: what.to_owned(),
                    why: format!("it has more than {most} bytes"),
                });
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name).and_then(|v| v.to_str().ok())
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut out = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        out = format!("{out}: {source}");
        next = source.source();
    }
    out
}

/// Asks, and follows redirects. What authorises goes to the first host alone.
pub(super) async fn get(connector: &Connector, uri: Uri, ask: &Ask) -> Result<Answer, PullError> {
    let first = host_of(&uri)?;
    let (mut uri, mut ask) = (uri, ask.clone());
    for _ in 0..=MAX_REDIRECTS {
        let answer = once(connector, &uri, &ask).await?;
        if !matches!(answer.head.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(answer);
        }
        let to = answer.text(LOCATION.as_str()).and_then(|to| join(&uri, to));
        let Some(to) = to else {
            return Err(PullError::Exchange {
                host: answer.host.clone(),
                why: "it redirects to nowhere".into(),
            });
        };
        if host_of(&to)? != first || to.scheme() != uri.scheme() {
            ask.authorization = None;
        }
        uri = to;
    }
    Err(PullError::Exchange {
        host: first,
        why: "it redirects without end".into(),
    })
}

/// An address, or a path on the same host.
fn join(base: &Uri, to: &str) -> Option<Uri> {
    if to.starts_with("//") {
        return None;
    }
    let to: Uri = if to.starts_with('/') {
        format!("{}://{}{to}", base.scheme_str()?, base.authority()?)
            .parse()
            .ok()?
    } else {
        to.parse().ok()?
    };
    // From TLS to none there is no way, and none with a name and a password in the address.
    let lower = base.scheme_str() == Some("https") && to.scheme_str() != Some("https");
    let bare = to.authority().is_some_and(|a| !a.as_str().contains('@'));
    (bare && !lower && matches!(to.scheme_str(), Some("http" | "https"))).then_some(to)
}

async fn once(connector: &Connector, uri: &Uri, ask: &Ask) -> Result<Answer, PullError> {
    let host = host_of(uri)?;
    let failed = |why: String| PullError::Exchange {
        host: host.clone(),
        why,
    };
    let wire = connector.connect(uri).await?;
    let made = hyper::client::conn::http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .handshake(wire)
        .await;
    let (mut sender, connection) = made.map_err(|e| failed(chain(&e)))?;
    let running = Running(tokio::spawn(async move {
        let _ = connection.await; // whoever reads the answer is told
    }));
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    let mut request = Request::get(path)
        .header(HOST, host.as_str())
        .header(USER_AGENT, concat!("qila/", env!("CARGO_PKG_VERSION")));
    if let Some(accept) = ask.accept {
        request = request.header(ACCEPT, accept);
    }
    if let Some(authorization) = &ask.authorization {
        request = request.header(AUTHORIZATION, authorization.clone());
    }
    if ask.from > 0 {
        request = request.header(RANGE, format!("bytes={}-", ask.from));
    }
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(|e| failed(e.to_string()))?;
    let answer = tokio::time::timeout(PATIENCE, sender.send_request(request)).await;
    let answer = answer.map_err(|_| failed("no answer within a minute".into()))?;
    let answer: Response<Incoming> = answer.map_err(|e| failed(chain(&e)))?;
    let (head, body) = answer.into_parts();
    Ok(Answer {
        head,
        body,
        host,
        _connection: running,
    })
}
