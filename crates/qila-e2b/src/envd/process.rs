//! `process.Process`: what asks for one thing and is answered once.
use super::access::Access;
use super::filesystem::enter;
use super::wire::process::{
    Empty, InputBytes, ListResponse, ProcessConfig, ProcessInfo, ProcessInput, ProcessSelector, Pty,
    SelectRequest, Selector, SendInputRequest, SendSignalRequest, StreamEvent, StreamInputRequest,
    UpdateRequest,
};
use super::{Envd, limit};
use crate::connect::{Fault, Messages, unary, upstream};
use crate::interpreter::TAG;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::Request;
use qila_api::{Input, ProcessId, Select, Size};

/// Which process is meant.
pub(super) fn select(selector: Option<ProcessSelector>) -> Result<Select, Fault> {
    match selector.and_then(|s| s.selector) {
        Some(Selector::Pid(pid)) if pid != 0 => Ok(Select::Pid(ProcessId(pid))),
        Some(Selector::Tag(tag)) if !tag.is_empty() && tag.len() <= limit::TAG => Ok(Select::Tag(tag)),
        _ => Err(Fault::invalid("a process is selected by `pid` or `tag`")),
    }
}

/// A size that a terminal can have. One of no lines is what a client without a terminal of its own has.
pub(super) fn size(pty: &Pty) -> Result<Size, Fault> {
    let side = |n: u32| u16::try_from(n).ok().filter(|_| n <= limit::SIDE);
    let size = pty.size.as_ref().and_then(|s| {
        Some(Size {
            rows: side(s.rows)?,
            cols: side(s.cols)?,
        })
    });
    size.ok_or_else(|| Fault::invalid(format!("a terminal has up to {} rows and columns", limit::SIDE)))
}

impl Access {
    async fn tell(&self, which: &Select, what: Input) -> Result<(), Fault> {
        match self.node().tell(&self.tenant, &self.id, which, what).await {
            Ok(()) => Ok(()),
            Err(e) => Err(self.fault(e).await),
        }
    }
}

fn bytes(input: Option<ProcessInput>) -> Result<Input, Fault> {
    match input.and_then(|i| i.input) {
        Some(InputBytes::Stdin(bytes) | InputBytes::Pty(bytes)) => Ok(Input::Bytes(bytes)),
        None => Err(Fault::invalid("there is no input: `stdin` or `pty` is needed")),
    }
}

pub(super) async fn list(State(envd): State<Envd>, request: Request<Body>) -> Response {
    let (access, request) = match enter(&envd, request).await {
        Ok(entered) => entered,
        Err(response) => return response,
    };
    unary(request, async |_: Empty| {
        match access.node().processes(&access.tenant, &access.id).await {
            Ok(all) => Ok(ListResponse {
                // The interpreter was started by us, not by whoever asks.
                processes: all
                    .into_iter()
                    .filter(|p| p.exec.tag.as_deref() != Some(TAG))
                    .map(info)
                    .collect(),
            }),
            Err(e) => Err(access.fault(e).await),
        }
    })
    .await
}

fn info(process: qila_api::ProcessInfo) -> ProcessInfo {
    let mut argv = process.exec.argv.into_iter();
    ProcessInfo {
        pid: process.pid.0,
        tag: process.exec.tag,
        config: Some(ProcessConfig {
            cmd: argv.next().unwrap_or_default(),
            args: argv.collect(),
            envs: process.exec.environment,
            cwd: process.exec.cwd,
        }),
    }
}

pub(super) async fn update(State(envd): State<Envd>, request: Request<Body>) -> Response {
    let (access, request) = match enter(&envd, request).await {
        Ok(entered) => entered,
        Err(response) => return response,
    };
    unary(request, async |asked: UpdateRequest| {
        let which = select(asked.process)?;
        if let Some(pty) = &asked.pty {
            access.tell(&which, Input::Resize(size(pty)?)).await?;
        }
        Ok(Empty {})
    })
    .await
}

pub(super) async fn send_input(State(envd): State<Envd>, request: Request<Body>) -> Response {
    let (access, request) = match enter(&envd, request).await {
        Ok(entered) => entered,
        Err(response) => return response,
    };
    unary(request, async |asked: SendInputRequest| {
        access.tell(&select(asked.process)?, bytes(asked.input)?).await?;
        Ok(Empty {})
    })
    .await
}

pub(super) async fn send_signal(State(envd): State<Envd>, request: Request<Body>) -> Response {
    let (access, request) = match enter(&envd, request).await {
        Ok(entered) => entered,
        Err(response) => return response,
    };
    unary(request, async |asked: SendSignalRequest| {
        let which = select(asked.process)?;
        if !matches!(asked.signal, 9 | 15) {
            return Err(Fault::invalid(
                "the signals are SIGNAL_SIGTERM and SIGNAL_SIGKILL",
            ));
        }
        access.tell(&which, Input::Signal(asked.signal)).await?;
        Ok(Empty {})
    })
    .await
}

pub(super) async fn close_stdin(State(envd): State<Envd>, request: Request<Body>) -> Response {
    let (access, request) = match enter(&envd, request).await {
        Ok(entered) => entered,
        Err(response) => return response,
    };
    unary(request, async |asked: SelectRequest| {
        access.tell(&select(asked.process)?, Input::End).await?;
        Ok(Empty {})
    })
    .await
}

pub(super) async fn stream_input(State(envd): State<Envd>, request: Request<Body>) -> Response {
    let (access, request) = match enter(&envd, request).await {
        Ok(entered) => entered,
        Err(response) => return response,
    };
    upstream(request, async |mut messages: Messages<StreamInputRequest>| {
        let mut which = None;
        while let Some(message) = messages.next().await? {
            match (message.event, &which) {
                (Some(StreamEvent::Start(start)), None) => which = Some(select(start.process)?),
                (Some(StreamEvent::Data(data)), Some(which)) => {
                    access.tell(which, bytes(data.input)?).await?
                }
                (Some(StreamEvent::Keepalive(_)), _) => {}
                (Some(StreamEvent::Start(_)), Some(_)) => {
                    return Err(Fault::invalid("a stream of input has one `start`"));
                }
                (Some(StreamEvent::Data(_)), None) | (None, _) => {
                    return Err(Fault::invalid(
                        "a stream of input has a `start`, then `data` and `keepalive`",
                    ));
                }
            }
        }
        match which {
            Some(_) => Ok(Empty {}),
            None => Err(Fault::invalid("a stream of input begins with `start`")),
        }
    })
    .await
}
