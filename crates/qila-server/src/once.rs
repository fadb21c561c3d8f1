//! Requests that may be repeated: the first of an `Idempotency-Key` is carried out, the others get its answer.
use crate::app::App;
use crate::problem::Problem;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use qila_api::Tenant;
use qila_store::Claim;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long a repeated request waits for the first.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it looks, where another process has the first.
const GLANCE: Duration = Duration::from_millis(100);

/// How often, and after what time each, it is tried again to write down an answer. Then only the next start releases the key.
const TRIES: u32 = 3_600;
const BETWEEN: Duration = Duration::from_secs(1);

/// Requests of this process that are under way.
#[derive(Default)]
pub(crate) struct Once {
    under_way: Mutex<HashMap<(Tenant, String), watch::Sender<()>>>,
}

impl Once {
    fn begin(&self, name: &(Tenant, String)) {
        let mut all = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(name.clone(), watch::Sender::new(()));
    }

    /// Wakes whoever waits: their channel closes.
    fn end(&self, name: &(Tenant, String)) {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
    }

    fn wait(&self, name: &(Tenant, String)) -> Option<watch::Receiver<()>> {
        let all = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(name).map(watch::Sender::subscribe)
    }
}

/// The key of a request, if it has one.
pub(crate) fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let sound =
        |text: &&str| !text.is_empty() && text.len() <= 128 && text.bytes().all(|b| b.is_ascii_graphic());
    let text = value.to_str().ok().filter(sound);
    let text =
        text.ok_or_else(|| Problem::invalid("an Idempotency-Key is 1 to 128 visible ASCII characters"))?;
    Ok(Some(text.to_owned()))
}

/// Carries it out once for each key, in a task of its own: a client that goes away does not leave it half done.
/// `what` names the operation and what it is done to.
pub(crate) async fn once<T, F>(
    app: &App,
    tenant: &Tenant,
    key: Option<String>,
    what: &str,
    body: &Bytes,
    work: F,
) -> Response
where
    T: Serialize + Send + 'static,
    F: Future<Output = Result<T, Problem>> + Send + 'static,
{
    let Some(key) = key else {
        return match run(work).await {
            Ok(value) => created(&value),
            Err(problem) => problem.into_response(),
        };
    };
    let mut print = Sha256::new();
    print.update(what.as_bytes());
    print.update([0]);
    print.update(body);
    let (app, name, print) = (app.clone(), (tenant.clone(), key), print.finalize().into());
    // From the claim on in the task: who claims must finish.
    let whole = async move {
        if let Some(answer) = first(&app, &name, print).await? {
            return Ok((answer, true));
        }
        let done = run(work).await.and_then(|value| encode(&value));
        let answer = done.as_ref().ok().cloned();
        let kept = app.store.finish(&name.0, &name.1, answer.clone()).await;
        if kept.is_err() {
            tokio::spawn(remember(app.clone(), name.clone(), answer));
        }
        app.once.end(&name);
        // It is done; that it is not remembered yet makes a repetition an unclear thing, which has to be said.
        kept?;
        done.map(|answer| (answer, false))
    };
    match run(whole).await {
        Ok((answer, again)) => raw(answer, again),
        Err(problem) => problem.into_response(),
    }
}

/// Tries again to write down how a request ended: until then whoever repeats it waits. The disk may have room again.
async fn remember(app: App, name: (Tenant, String), answer: Option<Vec<u8>>) {
    for _ in 0..TRIES {
        tokio::time::sleep(BETWEEN).await;
        if app.store.finish(&name.0, &name.1, answer.clone()).await.is_ok() {
            return;
        }
    }
}

/// None: this is the first. Else what the first was answered.
async fn first(app: &App, name: &(Tenant, String), print: [u8; 32]) -> Result<Option<Vec<u8>>, Problem> {
    let end = Instant::now() + PATIENCE;
    loop {
        match app.store.claim(&name.0, &name.1, print).await? {
            Claim::New => {
                app.once.begin(name);
                return Ok(None);
            }
            Claim::Done(answer) => return Ok(Some(answer)),
            Claim::Conflict => {
                let detail = "this Idempotency-Key was used for another request";
                return Err(Problem::new(
                    StatusCode::CONFLICT,
                    "key-reused",
                    "The key was used",
                    detail,
                ));
            }
            Claim::Pending => {}
        }
        if Instant::now() >= end {
            let detail = "the first request with this Idempotency-Key is under way";
            return Err(Problem::too_many(detail, Duration::from_secs(1)));
        }
        match app.once.wait(name) {
            Some(mut ended) => drop(tokio::time::timeout_at(end, ended.changed()).await),
            None => tokio::time::sleep(GLANCE).await,
        }
    }
}

async fn run<T: Send + 'static>(
    work: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(_) => {
            Err(qila_api::ApiError::new(qila_api::Kind::Internal, "the request failed half-way").into())
        }
    }
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Problem> {
    let failed = |_| qila_api::ApiError::new(qila_api::Kind::Internal, "the answer cannot be written");
    serde_json::to_vec(value).map_err(failed).map_err(Problem::from)
}

fn created<T: Serialize>(value: &T) -> Response {
    match encode(value) {
        Ok(bytes) => raw(bytes, false),
        Err(problem) => problem.into_response(),
    }
}

fn raw(answer: Vec<u8>, again: bool) -> Response {
    let mut response = (StatusCode::CREATED, answer).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if again {
        headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
    }
    response
}
