//! A request handed to a program in a sandbox, and its answer handed back; both as streams.
use super::target::Target;
use super::{Place, headers, missing};
use crate::app::{App, Peer, hold};
use crate::config::Missing;
use crate::problem::Problem;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, StatusCode, Uri, Version, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use qila_api::{Kind, Sandbox};
use std::time::Duration;

/// How long a port may take to be reached.
const CONNECT: Duration = Duration::from_secs(10);
/// Bytes that the head of a program's answer may have.
const HEAD: usize = 64 << 10;

/// Hands it over.
pub(crate) async fn forward(
    app: &App,
    sandbox: &Sandbox,
    target: &Target,
    mut request: Request,
    place: Place,
) -> Response {
    if request.method() == Method::CONNECT {
        let detail = "a port takes no CONNECT";
        return Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method",
            "Not this method",
            detail,
        )
        .into_response();
    }
    let connecting = app.node.connect(&sandbox.tenant, &sandbox.id, target.port);
    let stream = match tokio::time::timeout(CONNECT, connecting).await {
        Err(_) => return missing(app, target, Missing::Port),
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            return match error.kind {
                Kind::NotFound | Kind::Gone | Kind::Conflict => missing(app, target, Missing::Port),
                _ => Problem::from(error).into_response(),
            };
        }
    };
    let shaken = http1::Builder::new()
        .max_buf_size(HEAD)
        .handshake(TokioIo::new(stream))
        .await;
    let Ok((mut sender, connection)) = shaken else {
        return missing(app, target, Missing::Port);
    };
    tokio::spawn(connection.with_upgrades());
    let becomes = headers::upgrade(request.headers());
    let client = becomes.is_some().then(|| hyper::upgrade::on(&mut request));
    if let Err(problem) = prepare(app, target.port, &mut request, becomes.as_ref()) {
        return problem.into_response();
    }
    let mut response = match tokio::time::timeout(app.limits.port_head, sender.send_request(request)).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => return bad_gateway("the program gave no answer that is HTTP"),
        Err(_) => return Problem::timeout("the program did not answer").into_response(),
    };
    let switched =
        (response.status() == StatusCode::SWITCHING_PROTOCOLS).then(|| headers::upgrade(response.headers()));
    headers::end_hop(response.headers_mut(), switched.as_ref().and_then(Option::as_ref));
    match (switched, client) {
        (None, _) => response.map(|body| hold(Body::new(body), place)),
        (Some(Some(_)), Some(client)) => {
            let inside = hyper::upgrade::on(&mut response);
            let ending = app.ending.clone();
            tokio::spawn(async move {
                let _place = place;
                let Ok((client, inside)) = tokio::try_join!(client, inside) else {
                    return;
                };
                let (mut client, mut inside) = (TokioIo::new(client), TokioIo::new(inside));
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut client, &mut inside) => {}
                    () = ending.cancelled() => {}
                }
            });
            response.map(|_| Body::empty())
        }
        (Some(_), _) => bad_gateway("the program switched to what nobody asked for"),
    }
}

/// Makes of a request what the program is to see.
fn prepare(
    app: &App,
    port: u16,
    request: &mut Request,
    becomes: Option<&HeaderValue>,
) -> Result<(), Problem> {
    let path = request.uri().path_and_query().map_or("/", |p| p.as_str());
    let path = path
        .parse::<Uri>()
        .map_err(|_| Problem::invalid("the path is none"))?;
    let host = match request.uri().authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => request.headers().get(header::HOST).cloned(),
    };
    let peer = request
        .extensions()
        .get::<Peer>()
        .map(|Peer(address)| address.ip().to_string());
    *request.uri_mut() = path;
    *request.version_mut() = Version::HTTP_11;
    let headers = request.headers_mut();
    headers::strip(headers);
    headers::end_hop(headers, becomes);
    let mut put = |name: &'static str, value: Option<HeaderValue>| {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    };
    put("x-forwarded-host", host);
    put(
        "x-forwarded-for",
        peer.and_then(|p| HeaderValue::from_str(&p).ok()),
    );
    put(
        "x-forwarded-proto",
        Some(HeaderValue::from_static(if app.tls { "https" } else { "http" })),
    );
    put("host", HeaderValue::from_str(&format!("localhost:{port}")).ok());
    Ok(())
}

fn bad_gateway(detail: &str) -> Response {
    Problem::new(
        StatusCode::BAD_GATEWAY,
        "port",
        "The port does not answer",
        detail,
    )
    .into_response()
}
