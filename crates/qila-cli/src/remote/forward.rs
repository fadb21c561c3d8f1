//! Ports of a sandbox elsewhere, on this host's loopback: HTTP/1.1 and what it becomes, WebSockets for instance.
use super::http::{Host, escaped};
use super::signals::Signals;
use crate::fail::Fail;
use crate::policy::print;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, UPGRADE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Connections at once, of all ports.
const MOST: usize = 256;
/// How long a client may take to say what it wants.
const HEAD: Duration = Duration::from_secs(30);
/// What a daemon takes for its own; a client here has no say in it.
const TAKEN: [&str; 8] = [
    "qila-sandbox",
    "qila-port",
    "qila-traffic-token",
    "e2b-sandbox-id",
    "e2b-sandbox-port",
    "e2b-traffic-access-token",
    "x-access-token",
    "x-api-key",
];

/// A port here and one in the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Forward {
    local: u16,
    remote: u16,
}

impl FromStr for Forward {
    type Err = String;

    fn from_str(text: &str) -> Result<Forward, String> {
        let (local, remote) = text.split_once(':').unwrap_or((text, text));
        let port = |p: &str| p.parse::<u16>().map_err(|_| format!("`{p}` is no port"));
        let forward = Forward {
            local: port(local)?,
            remote: port(remote)?,
        };
        match forward.remote {
            0 => Err("there is no port 0".to_owned()),
            _ => Ok(forward),
        }
    }
}

/// `qila sandbox port-forward`: until a signal ends it.
pub(crate) async fn forward(host: &Host, id: &str, ports: &[Forward], json: bool) -> Result<u8, Fail> {
    let mut signals = Signals::take()?;
    let places = Arc::new(Semaphore::new(MOST));
    let mut all = tokio::task::JoinSet::new();
    for port in ports {
        let way = Arc::new(Way::ask(host, id, port.remote).await?);
        let fail = |e| Fail::new(format!("listening on 127.0.0.1:{}: {e}", port.local));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.local))
            .await
            .map_err(fail)?;
        let local = listener.local_addr().map_err(fail)?;
        print(&match json {
            true => json!({"run": id, "local": local.to_string(), "port": port.remote}).to_string(),
            false => format!("http://{local} -> {id}:{}", port.remote),
        });
        all.spawn(listen(listener, host.clone(), way, Arc::clone(&places)));
    }
    tokio::select! {
        _ = signals.ending() => Ok(0),
        Some(ended) = all.join_next() => match ended {
            Ok(fail) => Err(fail),
            Err(e) => Err(Fail::new(e.to_string())),
        },
    }
}

/// How a port is reached: what the daemon is to be shown. Its key is not: ports need none.
struct Way {
    headers: HeaderMap,
}

impl Way {
    async fn ask(host: &Host, id: &str, port: u16) -> Result<Way, Fail> {
        let path = format!("/v1/sandboxes/{}/ports/{port}", escaped(id));
        let told = host.json(Method::GET, &path, None).await?;
        let wrong =
            || Fail::new("the daemon does not say how a port is reached").hint("is it of this version?");
        let mut headers = HeaderMap::new();
        let needed = told.get("headers").and_then(Value::as_object).ok_or_else(wrong)?;
        for (name, value) in needed {
            let name = HeaderName::try_from(name).map_err(|_| wrong())?;
            let value = value.as_str().and_then(|v| HeaderValue::try_from(v).ok());
            headers.insert(name, value.ok_or_else(wrong)?);
        }
        match headers.contains_key("qila-sandbox") && headers.contains_key("qila-port") {
            true => Ok(Way { headers }),
            false => Err(wrong()),
        }
    }
}

async fn listen(listener: TcpListener, host: Host, way: Arc<Way>, places: Arc<Semaphore>) -> Fail {
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return Fail::new("it listens no more");
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(e) => return Fail::new(format!("taking connections: {e}")),
        };
        let (host, way) = (host.clone(), Arc::clone(&way));
        tokio::spawn(async move {
            serve(stream, host, way).await;
            drop(place);
        });
    }
}

async fn serve(stream: TcpStream, host: Host, way: Arc<Way>) {
    let service = service_fn(move |request| {
        let (host, way) = (host.clone(), Arc::clone(&way));
        async move {
            let answered = hand_over(&host, &way, request).await;
            Ok::<_, std::convert::Infallible>(
                answered.unwrap_or_else(|fail| plain(StatusCode::BAD_GATEWAY, &fail.message)),
            )
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    // What went wrong between here and the client, the client knows.
    let _ = connection.await;
}

type Answer = Response<BoxBody<bytes::Bytes, hyper::Error>>;

fn plain(status: StatusCode, text: &str) -> Answer {
    let body = Full::from(format!("qila: {text}\n"))
        .map_err(|never| match never {})
        .boxed();
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer
}

/// Whether a client means this host. A page from elsewhere whose name was made to lead here does not.
fn means_here(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|h| h.to_str().ok()).unwrap_or("");
    let Ok(authority) = host.parse::<hyper::http::uri::Authority>() else {
        return false;
    };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    let local = name == "localhost" || name.ends_with(".localhost");
    local || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

async fn hand_over(host: &Host, way: &Way, mut request: Request<Incoming>) -> Result<Answer, Fail> {
    if !means_here(request.headers()) {
        return Ok(plain(
            StatusCode::MISDIRECTED_REQUEST,
            "this is reached as localhost or 127.0.0.1",
        ));
    }
    if request.method() == Method::CONNECT {
        return Ok(plain(StatusCode::METHOD_NOT_ALLOWED, "a port takes no CONNECT"));
    }
    let fail = |e: &dyn std::fmt::Display| Fail::new(e.to_string());
    let path = request.uri().path_and_query().map_or("/", |p| p.as_str());
    let path = path.parse::<Uri>().map_err(|e| fail(&e))?;
    let client = request
        .headers()
        .contains_key(UPGRADE)
        .then(|| hyper::upgrade::on(&mut request));
    let (mut parts, body) = request.into_parts();
    parts.uri = path;
    parts.version = hyper::Version::HTTP_11;
    for name in TAKEN {
        parts.headers.remove(name);
    }
    // The connection to the daemon is for this request alone.
    if client.is_none() {
        parts
            .headers
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    parts.headers.insert(
        HOST,
        HeaderValue::try_from(host.authority()).map_err(|e| fail(&e))?,
    );
    parts.headers.extend(way.headers.clone());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(host.connect().await?))
        .await
        .map_err(|e| fail(&e))?;
    tokio::spawn(connection.with_upgrades());
    let sent = sender.send_request(Request::from_parts(parts, body)).await;
    let mut answer = sent.map_err(|e| Fail::new(format!("the daemon went away: {e}")))?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        answer.headers_mut().remove(CONNECTION);
        return Ok(answer.map(BodyExt::boxed));
    }
    let inside = hyper::upgrade::on(&mut answer);
    let Some(client) = client else {
        return Ok(plain(
            StatusCode::BAD_GATEWAY,
            "the program switched to what nobody asked for",
        ));
    };
    tokio::spawn(async move {
        if let Ok((client, inside)) = tokio::try_join!(client, inside) {
            let (mut client, mut inside) = (TokioIo::new(client), TokioIo::new(inside));
            // Either end tells the other by closing.
            let _ = tokio::io::copy_bidirectional(&mut client, &mut inside).await;
        }
    });
    Ok(answer.map(|_| nothing_more()))
}

fn nothing_more() -> BoxBody<bytes::Bytes, hyper::Error> {
    http_body_util::Empty::new()
        .map_err(|never| match never {})
        .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_as_ssh_and_docker_do() {
        let read = |text: &str| text.parse::<Forward>().ok().map(|f| (f.local, f.remote));
        assert_eq!(read("8080:80"), Some((8080, 80)));
        assert_eq!(read("8000"), Some((8000, 8000)));
        assert_eq!(read("0:80"), Some((0, 80)));
        for bad in ["", "80:0", "0", "a:1", "1:2:3", "70000:1", "-1:5"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_page_from_elsewhere_whose_name_leads_here_is_refused() {
        let means = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::try_from(host).unwrap());
            means_here(&headers)
        };
        for good in ["localhost:80", "127.0.0.1:8080", "[::1]:1", "app.localhost"] {
            assert!(means(good), "{good}");
        }
        for bad in ["evil.example:80", "10.0.0.1", "localhost.evil.example", ""] {
            assert!(!means(bad), "{bad}");
        }
        assert!(!means_here(&HeaderMap::new()));
    }
}
