//! Calls with one message each way.
use super::body::whole;
use super::call::Call;
use super::codec::{Codec, Reply, Said};
use super::{Code, Fault};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{Request, header};
use std::time::Duration;
use tokio::time::Instant;

/// Longest that one takes, whatever the client says.
const LONGEST: Duration = Duration::from_secs(300);

/// Reads the one message, does what it asks for, answers with the other.
pub(crate) async fn unary<I, O, F>(request: Request<Body>, work: F) -> Response
where
    I: Said,
    O: Reply,
    F: AsyncFnOnce(I) -> Result<O, Fault>,
{
    let call = match Call::read(request.headers(), false) {
        Ok(call) => call,
        Err(response) => return *response,
    };
    let until = call
        .deadline
        .unwrap_or_else(|| Instant::now() + LONGEST)
        .min(Instant::now() + LONGEST);
    let done = async {
        let message = call.codec.read(&whole(request.into_body()).await?)?;
        call.codec.write(&work(message).await?)
    };
    let late = || Fault::new(Code::DeadlineExceeded, "the time for this call is over");
    let done = tokio::time::timeout_at(until, done)
        .await
        .unwrap_or_else(|_| Err(late()));
    match done {
        Ok(body) => {
            let kind = match call.codec {
                Codec::Json => "application/json",
                Codec::Proto => "application/proto",
            };
            ([(header::CONTENT_TYPE, kind)], body).into_response()
        }
        Err(fault) => fault.into_response(),
    }
}
