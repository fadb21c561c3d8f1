//! What is asked over HTTP.
use crate::Interpret;
use crate::cell::{Cell, Listener};
use crate::contexts::{Context, ContextError, Contexts, Turn};
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Largest request in bytes.
const BODY: usize = 16 << 20;
/// Time after which a cell that says nothing is shown to be there all the same.
const ALIVE: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
struct Execute {
    code: String,
    #[serde(default)]
    context_id: Option<String>,
    #[serde(default)]
    language: Option<String>,
    #[serde(default, alias = "envVars")]
    env_vars: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize, Default)]
struct Make {
    #[serde(default)]
    language: Option<String>,
    #[serde(default)]
    cwd: Option<String>,
}

type Shared = State<Arc<Contexts>>;

pub(crate) async fn serve(listener: tokio::net::TcpListener, with: Interpret) -> std::io::Result<()> {
    let contexts = Arc::new(Contexts::new(with));
    let warm = contexts.clone();
    tokio::spawn(async move { warm.warm().await });
    let routes = Router::new()
        .route("/health", get(|| async { "OK" }))
        .route("/execute", post(execute))
        .route("/contexts", get(list).post(make))
        .route("/contexts/{id}", delete(remove))
        .route("/contexts/{id}/restart", post(restart))
        .layer(DefaultBodyLimit::max(BODY))
        .with_state(contexts);
    axum::serve(listener, routes).await
}

fn refuse(error: &ContextError) -> Response {
    let status = match error {
        ContextError::Unknown(_) => StatusCode::NOT_FOUND,
        ContextError::Language(_) | ContextError::Directory(_) => StatusCode::BAD_REQUEST,
        ContextError::Full | ContextError::Busy => StatusCode::TOO_MANY_REQUESTS,
        ContextError::Random => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (
        status,
        Json(json!({"message": error.to_string(), "code": status.as_u16()})),
    )
        .into_response()
}

fn malformed(e: &dyn std::fmt::Display) -> Response {
    let body = json!({"message": format!("the request makes no sense: {e}"), "code": 400});
    (StatusCode::BAD_REQUEST, Json(body)).into_response()
}

fn shown(context: &Context) -> Value {
    json!({"id": context.id, "language": context.language.name(), "cwd": context.cwd.to_string_lossy()})
}

/// As every shell understands it.
fn is_variable(name: &str, value: &str) -> bool {
    let begins = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(begins) && name.chars().all(|c| begins(c) || c.is_ascii_digit()) && !value.contains('\0')
}

async fn list(State(contexts): Shared) -> Json<Value> {
    Json(contexts.list().iter().map(|c| shown(c)).collect())
}

async fn make(State(contexts): Shared, body: Bytes) -> Response {
    let wish: Make = match body.is_empty() {
        true => Make::default(),
        false => match serde_json::from_slice(&body) {
            Ok(wish) => wish,
            Err(e) => return malformed(&e),
        },
    };
    match contexts.make(wish.language.as_deref().unwrap_or("python"), wish.cwd.as_deref()) {
        Ok(context) => Json(shown(&context)).into_response(),
        Err(e) => refuse(&e),
    }
}

async fn remove(State(contexts): Shared, Path(id): Path<String>) -> Response {
    match contexts.remove(&id) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(e) => refuse(&e),
    }
}

async fn restart(State(contexts): Shared, Path(id): Path<String>) -> Response {
    let context = match contexts.find(Some(&id), None) {
        Ok(context) => context,
        Err(e) => return refuse(&e),
    };
    match contexts.restart(&context).await {
        Ok(()) => Json(shown(&context)).into_response(),
        Err(why) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            Json(json!({"message": why, "code": 500})),
        )
            .into_response(),
    }
}

async fn execute(State(contexts): Shared, body: Bytes) -> Response {
    let wish: Execute = match serde_json::from_slice(&body) {
        Ok(wish) => wish,
        Err(e) => return malformed(&e),
    };
    if wish.context_id.is_some() && wish.language.is_some() {
        return malformed(&"it names a context and a language, which the context has already");
    }
    let context = match contexts.find(wish.context_id.as_deref(), wish.language.as_deref()) {
        Ok(context) => context,
        Err(e) => return refuse(&e),
    };
    let cell = Cell {
        code: wish.code,
        env: wish.env_vars.unwrap_or_default(),
    };
    if !cell.env.iter().all(|(name, value)| is_variable(name, value)) {
        return malformed(&"a variable's name is letters, digits and _, and its value has no NUL");
    }
    let turn = match Turn::take(context) {
        Ok(turn) => turn,
        Err(e) => return refuse(&e),
    };
    let (give, take) = mpsc::unbounded_channel();
    let mut to = Listener::new(give);
    tokio::spawn(async move { contexts.run(&turn, &cell, &mut to).await });
    // When whoever asked goes away, so does the receiver, and the cell is interrupted.
    let lines = stream::unfold(Some(take), |take| async move {
        let mut take = take?;
        match tokio::time::timeout(ALIVE, take.recv()).await {
            Ok(Some(said)) => Some((Ok::<_, std::convert::Infallible>(said.line()), Some(take))),
            Ok(None) => Some((Ok("{\"type\": \"end_of_execution\"}\n".to_owned()), None)),
            Err(_) => Some((Ok("{\"type\": \"keepalive\"}\n".to_owned()), Some(take))),
        }
    });
    (
        [(header::CONTENT_TYPE, "application/x-ndjson")],
        Body::from_stream(lines),
    )
        .into_response()
}
