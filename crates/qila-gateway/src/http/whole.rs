//! A request's body that has to be known as a whole before it is decided on.
use super::refusal::Refusal;
use super::trailers;
use crate::gate::{Gate, Rules};
use bytes::{Bytes, BytesMut};
use http::StatusCode;
use hyper::body::{Body, Incoming};
use std::pin::Pin;
use std::time::Duration;

/// Largest body that is read as a whole.
pub(super) const MAX: u64 = 32 << 20;
/// Longest time that it may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// Most bytes of a refused request that are read for nothing, and the longest time.
const DISCARDED: usize = 8 << 20;
const DISCARDING: Duration = Duration::from_secs(5);

/// Reads what is left of a refused request over HTTP/2: its stream would else be reset, and some clients then throw the answer
/// away with it.
pub(super) async fn discard(body: Incoming) {
    let reading = async {
        let (mut body, mut left) = (body, DISCARDED);
        while let Some(Ok(frame)) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else {
                return;
            };
            left = rest;
        }
    };
    let _ = tokio::time::timeout(DISCARDING, reading).await;
}

/// Reads all of a body. No placeholder may be in it.
pub(super) async fn read(gate: &Gate, rules: &Rules, body: Incoming, most: u64) -> Result<Bytes, Refusal> {
    let too_long = || {
        Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "qila_body",
            format!(
                "a body over {most} bytes, where it has to be read as a whole or the rule allows no more"
            ),
        )
    };
    if body.size_hint().lower() > most {
        tokio::task::spawn_local(discard(body));
        return Err(too_long());
    }
    let reading = async {
        let (mut body, mut all) = (body, BytesMut::new());
        while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            let frame = frame.map_err(|e| Refusal::malformed(format!("the body: {e}")))?;
            let data = match frame.into_data() {
                Ok(data) => data,
                Err(frame) => match frame
                    .into_trailers()
                    .map(|fields| trailers::outward(gate, fields))
                {
                    Ok(None) => return Err(Refusal::violation("a placeholder after the request's body")),
                    // They go no further: of a body read as a whole the length is told.
                    _ => continue,
                },
            };
            if (all.len() as u64).saturating_add(data.len() as u64) > most {
                tokio::task::spawn_local(discard(body));
                return Err(too_long());
            }
            crate::rate::take(rules.rates.upload.as_ref(), data.len()).await;
            all.extend_from_slice(&data);
        }
        Ok(all.freeze())
    };
    let all = tokio::time::timeout(PATIENCE, reading)
        .await
        .map_err(|_| Refusal::malformed("the body did not come to its end"))??;
    match gate.secrets.finder().is_some_and(|f| f.find(&all)) {
        true => Err(Refusal::violation("a placeholder in the request's body")),
        false => Ok(all),
    }
}
