//! Connections, and which part of the server answers a request.
use super::record::{Entry, Record};
use super::{Shared, coding, events, grpc, leak, mcp, models, plain, websocket};
use bytes::Bytes;
use http::{Request, Response, StatusCode, Version};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Largest body that is read.
const MOST: usize = 16 << 20;

pub(crate) type Body = BoxBody<Bytes, io::Error>;
pub(crate) type Answer = Response<Body>;

/// One request in hand.
pub(crate) struct Call {
    pub(crate) shared: Arc<Shared>,
    pub(crate) entry: Entry,
    /// The path without `/denied`: what a rule denies would work if it came through.
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) host: String,
    pub(crate) case: String,
    pub(crate) request: Request<Incoming>,
}

pub(crate) async fn accept(
    listener: std::net::TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    shared: Arc<Shared>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let acceptor = tls.map(TlsAcceptor::from);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let _ = stream.set_nodelay(true);
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            match acceptor {
                None => connection(stream, None, shared).await,
                Some(acceptor) => {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let sni = stream.get_ref().1.server_name().map(str::to_owned);
                    connection(stream, sni, shared).await;
                }
            }
        });
    }
}

async fn connection<S>(stream: S, sni: Option<String>, shared: Arc<Shared>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let (sni, shared) = (sni.clone(), Arc::clone(&shared));
        async move { Ok::<_, Infallible>(answer(shared, sni, request).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http2()
        .enable_connect_protocol()
        .max_header_list_size(256 * 1024);
    builder.http1().max_buf_size(512 * 1024);
    let _ = builder
        .serve_connection_with_upgrades(TokioIo::new(stream), service)
        .await;
}

fn record(request: &Request<Incoming>, sni: Option<String>) -> Record {
    let text = |v: &http::HeaderValue| String::from_utf8_lossy(v.as_bytes()).into_owned();
    let headers: Vec<(String, String)> = request
        .headers()
        .iter()
        .map(|(n, v)| (n.as_str().to_owned(), text(v)))
        .collect();
    let named = request.uri().authority().map(|a| a.host().to_owned());
    let host = named.or_else(|| {
        let host = request.headers().get("host").map(text)?;
        Some(host.split(':').next().unwrap_or_default().to_owned())
    });
    Record {
        case: request.headers().get("x-case").map(text).unwrap_or_default(),
        sni,
        host: host.unwrap_or_default(),
        version: match request.version() {
            Version::HTTP_2 => "HTTP/2".into(),
            other => format!("{other:?}"),
        },
        method: request.method().to_string(),
        target: request
            .uri()
            .path_and_query()
            .map_or("*", |p| p.as_str())
            .to_owned(),
        headers,
        ..Record::default()
    }
}

async fn answer(shared: Arc<Shared>, sni: Option<String>, request: Request<Incoming>) -> Answer {
    let record = record(&request, sni);
    let (host, case) = (record.host.clone(), record.case.clone());
    let path = request.uri().path();
    let path = path.strip_prefix("/denied").unwrap_or(path).to_owned();
    let pairs = request.uri().query().unwrap_or_default().split('&');
    let query = pairs
        .filter_map(|p| p.split_once('='))
        .map(|(n, v)| (n.to_owned(), v.to_owned()))
        .collect();
    let entry = shared.records.begin(record);
    let call = Call {
        shared,
        entry,
        path,
        query,
        host,
        case,
        request,
    };
    match call.path.as_str() {
        "/sse" | "/ack" => events::answer(call).await,
        "/ws" => websocket::answer(call).await,
        "/coded" => coding::answer(call).await,
        "/mcp" => mcp::answer(call).await,
        "/leak" => leak::answer(call).await,
        path if path.starts_with("/qila.Echo/") => grpc::answer(call).await,
        path if path.starts_with("/v1/") => models::answer(call).await,
        _ => plain::answer(call).await,
    }
}

impl Call {
    /// A parameter of the query.
    pub(crate) fn parameter(&self, name: &str) -> &str {
        let found = self.query.iter().find(|(n, _)| n == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    /// The whole body, which is recorded.
    pub(crate) async fn body(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(frame) = self.request.body_mut().frame().await {
            let Ok(frame) = frame else {
                self.entry.note("broken off");
                return all;
            };
            match frame.into_data() {
                Ok(data) => {
                    self.entry.add(&data);
                    if all.len() + data.len() <= MOST {
                        all.extend_from_slice(&data);
                    }
                }
                Err(frame) => {
                    for (name, value) in frame.trailers_ref().into_iter().flatten() {
                        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                        self.entry.note(format!("trailer {name}: {value}"));
                    }
                }
            }
        }
        self.entry.note("complete");
        all
    }
}

/// A body of known bytes.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// A whole answer in JSON.
pub(crate) fn json(status: StatusCode, value: &serde_json::Value) -> Answer {
    let mut response = Response::new(full(value.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    response
}

/// A field for a response.
pub(crate) fn set(response: &mut Answer, name: &'static str, value: &str) {
    if let Ok(value) = http::HeaderValue::from_str(value) {
        response.headers_mut().append(name, value);
    }
}
