//! HTTP/2 with an agent: many requests side by side, each judged by itself.
use super::{Local, MAX_HEAD, STREAM_WINDOW, Session, forward};
use crate::gate::Gate;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::time::sleep;

/// Most requests at a time on one connection.
const STREAMS: u32 = 128;
/// Most streams that an agent opens and takes back at once before its connection ends (rapid reset).
const RESETS: usize = 20;
/// Most streams that the gateway itself ends for faults of the agent's before the connection ends.
const FAULTS: usize = 32;
/// Longest time without a request.
const IDLE: Duration = Duration::from_secs(300);

/// How many requests are under way, and word of each that ends.
#[derive(Default)]
struct Busy {
    now: Cell<u32>,
    changed: Notify,
}

/// Held by a request while it is under way.
pub(super) struct Under(Rc<Busy>);

impl Under {
    fn way(busy: &Rc<Busy>) -> Under {
        busy.now.set(busy.now.get().saturating_add(1));
        busy.changed.notify_one();
        Under(busy.clone())
    }
}

impl Drop for Under {
    fn drop(&mut self) {
        self.0.now.set(self.0.now.get().saturating_sub(1));
        self.0.changed.notify_one();
    }
}

/// Serves requests until the connection ends.
pub(crate) async fn serve<S>(gate: Rc<Gate>, stream: S, session: Session)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (session, busy) = (Rc::new(session), Rc::new(Busy::default()));
    let shared = busy.clone();
    let service = service_fn(move |request| {
        let (gate, session, under) = (gate.clone(), session.clone(), Under::way(&shared));
        async move {
            // Under way until the last of the answer's body.
            Ok::<_, Infallible>(forward::answer(gate, session, request, Some(under)).await)
        }
    });
    let connection = Builder::new(Local)
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(FAULTS)
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
        .max_send_buf_size(MAX_HEAD)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(STREAM_WINDOW.saturating_mul(4))
        .auto_date_header(false)
        .enable_connect_protocol()
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    loop {
        tokio::select! {
            // How it ends is the agent's affair; what was decided is in the log.
            _ = connection.as_mut() => return,
            () = busy.changed.notified() => {}
            () = sleep(IDLE), if busy.now.get() == 0 => break,
        }
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(IDLE, connection).await;
}
