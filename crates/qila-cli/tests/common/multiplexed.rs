//! A real server on loopback that speaks HTTP/2, and HTTP/1.1 to who cannot.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure here is the test's"
)]
use crate::upstream::{Got, Upstream, identity};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future::Future;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

/// What is answered: status, headers, pieces of the body, trailers.
#[derive(Default)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<String>,
    pub trailers: Vec<(&'static str, String)>,
}

#[derive(Clone)]
struct Local;

impl<F: Future + 'static> hyper::rt::Executor<F> for Local
where
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

type Handler = dyn Fn(&Got) -> Reply + Send + Sync;

/// With a certificate for these names (none: in clear, HTTP/2 only), offering these protocols.
pub fn start(
    names: &[&str],
    protocols: &[&str],
    handler: impl Fn(&Got) -> Reply + Send + Sync + 'static,
) -> Upstream {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let (got, accepted) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(0)));
    let (acceptor, ca) = match names {
        [] => (None, String::new()),
        _ => {
            let (config, ca) = identity(names);
            let mut config = (*config).clone();
            config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
            (Some(TlsAcceptor::from(Arc::new(config))), ca)
        }
    };
    let (seen, count, handler) = (
        got.clone(),
        accepted.clone(),
        Arc::<Handler>::from(Box::new(handler) as Box<Handler>),
    );
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                *count.lock().unwrap() += 1;
                let (seen, handler, acceptor) = (seen.clone(), handler.clone(), acceptor.clone());
                tokio::task::spawn_local(async move {
                    match acceptor {
                        None => serve(stream, true, seen, handler).await,
                        Some(acceptor) => {
                            let Ok(stream) = acceptor.accept(stream).await else {
                                return;
                            };
                            let newer = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                            serve(stream, newer, seen, handler).await;
                        }
                    }
                });
            }
        });
    });
    Upstream {
        address,
        got,
        accepted,
        ca,
    }
}

async fn serve<S>(stream: S, newer: bool, seen: Arc<Mutex<Vec<Got>>>, handler: Arc<Handler>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let service = service_fn(move |request: http::Request<Incoming>| {
        let (seen, handler) = (seen.clone(), handler.clone());
        async move {
            let (parts, body) = request.into_parts();
            let Ok(collected) = body.collect().await else {
                return Err("the request ended within its body");
            };
            let mut headers: Vec<(String, String)> = parts
                .headers
                .iter()
                .chain(collected.trailers().into_iter().flatten())
                .map(|(n, v)| (n.to_string(), String::from_utf8_lossy(v.as_bytes()).into_owned()))
                .collect();
            headers.extend(
                parts
                    .uri
                    .authority()
                    .map(|a| (":authority".to_owned(), a.to_string())),
            );
            let path = parts.uri.path_and_query().map_or("", |p| p.as_str());
            let got = Got {
                line: format!("{} {path} {:?}", parts.method, parts.version),
                headers,
                body: collected.to_bytes().to_vec(),
            };
            let reply = handler(&got);
            seen.lock().unwrap().push(got);
            Ok(response(reply))
        }
    });
    if newer {
        let _ = hyper::server::conn::http2::Builder::new(Local)
            .serve_connection(TokioIo::new(stream), service)
            .await;
    } else {
        let _ = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }
}

fn response(reply: Reply) -> Response<Frames> {
    let mut frames: Vec<Frame<Bytes>> = reply
        .body
        .into_iter()
        .map(|p| Frame::data(Bytes::from(p)))
        .collect();
    if !reply.trailers.is_empty() {
        let mut fields = HeaderMap::new();
        for (name, value) in reply.trailers {
            fields.append(name, HeaderValue::from_str(&value).unwrap());
        }
        frames.push(Frame::trailers(fields));
    }
    let mut response = Response::builder().status(if reply.status == 0 { 200 } else { reply.status });
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    response.body(Frames(frames.into())).unwrap()
}

/// A body made beforehand.
struct Frames(std::collections::VecDeque<Frame<Bytes>>);

impl hyper::body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;
    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        std::task::Poll::Ready(self.0.pop_front().map(Ok))
    }
}
