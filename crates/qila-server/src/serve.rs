//! Listening, serving connections, and ending in order.
use crate::app::{App, Peer, Shared};
use crate::config::{Config, ServeError};
use crate::{edge, tls};
use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What an HTTP/2 connection begins with (RFC 9113, 3.4), as far as it differs from all requests of HTTP/1.
const PREFACE: &[u8] = b"PRI * HTTP/2.0";
/// Requests of one HTTP/2 connection at once.
const STREAMS: u32 = 256;
/// Connections that wait to be accepted: those of a burst that find no place are tried again by their clients a second later.
const BACKLOG: u32 = 4096;
/// Time between two looks at the first bytes of a connection: the first, which doubles, and the last.
const GLANCE: Duration = Duration::from_millis(5);
const LONG_GLANCE: Duration = Duration::from_millis(250);
/// After a failure to accept: descriptors have run out, most likely.
const BREATH: Duration = Duration::from_millis(100);

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Connections on which something was still under way when the time to drain was over.
    pub cut_off: usize,
}

struct Server {
    app: App,
    router: Router,
    tls: Option<TlsAcceptor>,
    connections: Arc<Semaphore>,
    tasks: TaskTracker,
    cut: CancellationToken,
}

/// Listens until `shutdown`, then finishes what is under way for at most [`Config::drain`]. `ready` is told the addresses.
///
/// # Errors
/// Whatever keeps it from listening. Nothing that happens later ends it.
pub async fn serve(
    config: Config,
    shutdown: impl Future<Output = ()>,
    ready: impl FnOnce(&[SocketAddr]),
) -> Result<Report, ServeError> {
    let tls = match &config.tls {
        Some((certificate, key)) => Some(tls::acceptor(certificate, key)?),
        None => None,
    };
    if let Some(domain) = config.domain.as_ref().filter(|domain| !edge::is_domain(domain)) {
        return Err(ServeError::Domain(domain.clone()));
    }
    let mut listeners = Vec::new();
    for &address in &config.listen {
        if tls.is_none() && !config.insecure && !address.ip().is_loopback() {
            return Err(ServeError::Clear(address));
        }
        listeners.push(listen(address).map_err(|source| ServeError::Listen { address, source })?);
    }
    let addresses: Vec<_> = listeners.iter().filter_map(|l| l.local_addr().ok()).collect();
    if addresses.is_empty() {
        return Err(ServeError::Nowhere);
    }
    let ending = CancellationToken::new();
    let app = Shared::new(&config, ending.clone());
    let server = Arc::new(Server {
        router: crate::app::router(&app, config.control.clone()),
        app,
        tls,
        connections: Arc::new(Semaphore::new(config.limits.connections)),
        tasks: TaskTracker::new(),
        cut: CancellationToken::new(),
    });
    for listener in listeners {
        tokio::spawn(accept(Arc::clone(&server), listener));
    }
    ready(&addresses);
    shutdown.await;
    ending.cancel();
    server.tasks.close();
    let drained = tokio::time::timeout(config.drain, server.tasks.wait()).await;
    let cut_off = if drained.is_ok() { 0 } else { server.tasks.len() };
    server.cut.cancel();
    Ok(Report { cut_off })
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Or an address would be taken for a minute after the end.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn accept(server: Arc<Server>, listener: TcpListener) {
    loop {
        let Ok(place) = Arc::clone(&server.connections).acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = server.app.ending.cancelled() => return,
        };
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(BREATH).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let at = Arc::clone(&server);
        server.tasks.spawn(async move {
            tokio::select! {
                () = connection(&at, stream, peer) => {}
                () = at.cut.cancelled() => {}
            }
            drop(place);
        });
    }
}

async fn connection(server: &Server, stream: TcpStream, peer: SocketAddr) {
    let head = server.app.limits.head;
    match &server.tls {
        None => {
            if let Ok(Some(two)) = tokio::time::timeout(head, is_http2(&stream)).await {
                speak(server, stream, peer, two).await;
            }
        }
        Some(acceptor) => {
            if let Ok(Ok(stream)) = tokio::time::timeout(head, acceptor.accept(stream)).await {
                let two = stream.get_ref().1.alpn_protocol() == Some(b"h2".as_slice());
                speak(server, stream, peer, two).await;
            }
        }
    }
}

/// Whether a connection begins as HTTP/2 does; none: it ended before that could be said.
async fn is_http2(stream: &TcpStream) -> Option<bool> {
    let mut begin = [0; PREFACE.len()];
    let mut wait = GLANCE;
    loop {
        let n = stream.peek(&mut begin).await.ok()?;
        let seen = begin.get(..n)?;
        if seen.is_empty() {
            return None;
        }
        if !PREFACE.starts_with(seen) {
            return Some(false);
        }
        if n == PREFACE.len() {
            return Some(true);
        }
        // What is there already would be read again at once.
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONG_GLANCE);
    }
}

async fn speak(
    server: &Server,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    two: bool,
) {
    let io = TokioIo::new(stream);
    let (app, router) = (Arc::clone(&server.app), server.router.clone());
    let time = app.limits.rest;
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let (app, router) = (Arc::clone(&app), router.clone());
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        async move {
            if two {
                return Ok::<_, Infallible>(edge::handle(app, router, request).await);
            }
            let (request, rest) = edge::lend(request);
            let response = edge::handle(app, router, request).await;
            Ok(rest.read(response, time).await)
        }
    });
    let limits = server.app.limits;
    let ending = &server.app.ending;
    // What goes wrong on a connection is its client's: there is nobody to tell.
    if two {
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
            .max_concurrent_streams(STREAMS)
            .keep_alive_interval(limits.idle)
            .keep_alive_timeout(limits.head)
            .serve_connection(io, service);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            _ = connection.as_mut() => return,
            () = ending.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    } else {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head)
            .max_buf_size(limits.head_bytes)
            .serve_connection(io, service)
            .with_upgrades();
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            _ = connection.as_mut() => return,
            () = ending.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }
}
