//! Bodies of requests, read as far as they may be long and slow.
use super::{Code, Fault, MAX_MESSAGE};
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use std::time::Duration;

/// How long the next piece may take where all of it is waited for.
const PIECE: Duration = Duration::from_secs(60);

/// The next bytes of a body; none: it is over.
pub(crate) async fn next(body: &mut Body) -> Result<Option<Bytes>, Fault> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(_)) => return Err(Fault::invalid("the request broke off")),
            // Trailers say nothing to us.
            Some(Ok(frame)) => match frame.into_data() {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => return Ok(Some(bytes)),
                Err(_) => {}
            },
        }
    }
}

/// The whole body.
pub(crate) async fn whole(mut body: Body) -> Result<Bytes, Fault> {
    let mut all = BytesMut::new();
    loop {
        let piece = tokio::time::timeout(PIECE, next(&mut body)).await;
        let piece = piece.map_err(|_| Fault::new(Code::DeadlineExceeded, "the request stood still"))??;
        let Some(piece) = piece else {
            return Ok(all.freeze());
        };
        if all.len() + piece.len() > MAX_MESSAGE {
            return Err(Fault::new(
                Code::ResourceExhausted,
                format!("a message may have {MAX_MESSAGE} bytes"),
            ));
        }
        all.extend_from_slice(&piece);
    }
}
