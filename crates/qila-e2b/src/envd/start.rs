//! `Start` and `Connect`: a program's output as a stream.
use super::access::Access;
use super::filesystem::enter;
use super::process::{select, size};
use super::reap::{Known, print, reap};
use super::wire::process::{
    DataEvent, Empty, EndEvent, Event, EventResponse, Output, SelectRequest, StartEvent, StartRequest,
};
use super::{Envd, limit};
use crate::connect::{Call, Closed, Code, Fault, Out, downstream};
use crate::interpreter::TAG;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::Request;
use qila_api::{Attach, Exec, Input, Kind, Process, Status};
use tokio::time::{Instant, sleep_until};

/// How long a sandbox may take to hear that an end was told.
const SETTLING: std::time::Duration = std::time::Duration::from_secs(5);
const SIGKILL: i32 = 9;

fn exec(asked: StartRequest) -> Result<Exec, Fault> {
    let config = asked
        .process
        .ok_or_else(|| Fault::invalid("there is no `process` to start"))?;
    if config.cmd.is_empty() {
        return Err(Fault::invalid("there is no `cmd` to start"));
    }
    if config.args.len() > limit::ARGUMENTS || config.envs.len() > limit::VARIABLES {
        let (arguments, variables) = (limit::ARGUMENTS, limit::VARIABLES);
        return Err(Fault::invalid(format!(
            "a program has up to {arguments} arguments and {variables} variables"
        )));
    }
    let tag = asked.tag.filter(|t| !t.is_empty());
    if tag.as_ref().is_some_and(|t| t.len() > limit::TAG || t == TAG) {
        return Err(Fault::invalid(format!(
            "a tag has up to {} bytes, and is not `{TAG}`",
            limit::TAG
        )));
    }
    let cwd = config.cwd.filter(|dir| !dir.is_empty());
    let cwd = cwd
        .map(|dir| super::entry::sound(&dir).map(str::to_owned))
        .transpose()?;
    let mut argv = vec![config.cmd];
    argv.extend(config.args);
    Ok(Exec {
        argv,
        environment: config.envs,
        cwd,
        tag,
        terminal: asked.pty.as_ref().map(size).transpose()?,
        // What is not said was once always so.
        input: asked.stdin.unwrap_or(true),
        warm: false,
    })
}

pub(super) async fn start(State(envd): State<Envd>, request: Request<Body>) -> Response {
    let (access, request) = match enter(&envd, request).await {
        Ok(entered) => entered,
        Err(response) => return response,
    };
    downstream(request, |asked: StartRequest, call, out| async move {
        let place = place(&access)?;
        let exec = exec(asked)?;
        let print = print(&exec);
        let process = match access.node().exec(&access.tenant, &access.id, exec).await {
            Ok(process) => process,
            Err(e) => {
                let e = access.explain(e).await;
                // A program that is not there is the caller's mistake, as E2B says it.
                return Err(if e.kind == Kind::NotFound {
                    Fault::invalid(e.message)
                } else {
                    e.into()
                });
            }
        };
        let known = Known::new(process.pid, print);
        match follow(process, call, &out, true).await {
            Ended::Told => Ok(()),
            Ended::Late => Err(late()),
            Ended::Lost => Err(lost()),
            Ended::Unheard => {
                // Nobody listens any more. The program goes on, up to the time that it was given; the stream's place is free.
                drop(place);
                if let Some(until) = call.deadline {
                    tokio::spawn(reap(access, known, until));
                }
                Ok(())
            }
        }
    })
    .await
}

pub(super) async fn connect(State(envd): State<Envd>, request: Request<Body>) -> Response {
    let (access, request) = match enter(&envd, request).await {
        Ok(entered) => entered,
        Err(response) => return response,
    };
    downstream(request, |asked: SelectRequest, call, out| async move {
        let _place = place(&access)?;
        let which = select(asked.process)?;
        let process = match access
            .node()
            .attach(&access.tenant, &access.id, &which, Attach::Now)
            .await
        {
            Ok(process) => process,
            Err(e) => return Err(access.fault(e).await),
        };
        match follow(process, call, &out, false).await {
            Ended::Told | Ended::Unheard => Ok(()),
            Ended::Late => Err(late()),
            Ended::Lost => Err(lost()),
        }
    })
    .await
}

/// A place among the streams, as long as it is held.
pub(super) fn place(access: &Access) -> Result<tokio::sync::OwnedSemaphorePermit, Fault> {
    let full = |_| Fault::new(Code::ResourceExhausted, "there are too many streams at once");
    access.envd.0.streams.clone().try_acquire_owned().map_err(full)
}

fn late() -> Fault {
    Fault::new(Code::DeadlineExceeded, "the time for this call is over")
}

fn lost() -> Fault {
    Fault::new(
        Code::Unavailable,
        "The sandbox was not found: it ended before its program did",
    )
}

/// How a stream came to its end.
enum Ended {
    /// The program ended, and that was said.
    Told,
    /// The time was over.
    Late,
    /// The sandbox is gone.
    Lost,
    /// Nobody listens any more.
    Unheard,
}

/// Passes on what comes out of a program. `owned`: with the time of the call, the program's is over too.
async fn follow(mut process: Process, call: Call, out: &Out<EventResponse>, owned: bool) -> Ended {
    let passing = pass(&mut process, call, out);
    let ended = match call.deadline {
        Some(until) => tokio::time::timeout_at(until, passing)
            .await
            .unwrap_or(Ended::Late),
        None => passing.await,
    };
    if owned && matches!(ended, Ended::Late) {
        // It fails if the program has ended meanwhile.
        let _ = process.input.send(Input::Signal(SIGKILL)).await;
    }
    if matches!(ended, Ended::Told) {
        // Listening until nothing comes any more lets the sandbox know that the end was told.
        tokio::spawn(tokio::time::timeout(SETTLING, async move {
            while process.output.recv().await.is_some() {}
        }));
    }
    ended
}

async fn pass(process: &mut Process, call: Call, out: &Out<EventResponse>) -> Ended {
    if out
        .send(&Event::Start(StartEvent { pid: process.pid.0 }).into())
        .await
        .is_err()
    {
        return Ended::Unheard;
    }
    let mut sign = Instant::now() + call.keepalive;
    loop {
        let said = tokio::select! {
            said = process.output.recv() => said,
            () = sleep_until(sign) => {
                sign = Instant::now() + call.keepalive;
                match out.send(&Event::Keepalive(Empty {}).into()).await {
                    Ok(()) => continue,
                    Err(Closed) => return Ended::Unheard,
                }
            }
            () = out.closed() => return Ended::Unheard,
        };
        let (output, last) = match said {
            None => return Ended::Lost,
            Some(qila_api::Output::Stdout(bytes)) => (data(Output::Stdout(bytes)), false),
            Some(qila_api::Output::Stderr(bytes)) => (data(Output::Stderr(bytes)), false),
            Some(qila_api::Output::Terminal(bytes)) => (data(Output::Pty(bytes)), false),
            // The wire has no word for it.
            Some(qila_api::Output::Lost(_)) => continue,
            Some(qila_api::Output::Ended(status)) => (Event::End(end(status)), true),
        };
        if out.send(&output.into()).await.is_err() {
            return Ended::Unheard;
        }
        if last {
            return Ended::Told;
        }
        sign = Instant::now() + call.keepalive;
    }
}

fn data(output: Output) -> Event {
    Event::Data(DataEvent { output: Some(output) })
}

/// The end of a program as Go would say it.
fn end(status: Status) -> EndEvent {
    let (code, words) = match (status.code, status.signal) {
        (Some(code), _) => (code, format!("exit status {code}")),
        (None, Some(signal)) => (-1, format!("signal: {}", name(signal))),
        (None, None) => (-1, "unknown".into()),
    };
    EndEvent {
        exit_code: code,
        exited: status.code.is_some(),
        error: (code != 0).then(|| words.clone()),
        status: words,
    }
}

fn name(signal: i32) -> String {
    let known = match signal {
        1 => "hangup",
        2 => "interrupt",
        3 => "quit",
        4 => "illegal instruction",
        5 => "trace/breakpoint trap",
        6 => "aborted",
        7 => "bus error",
        8 => "floating point exception",
        9 => "killed",
        10 => "user defined signal 1",
        11 => "segmentation fault",
        12 => "user defined signal 2",
        13 => "broken pipe",
        14 => "alarm clock",
        15 => "terminated",
        _ => return format!("signal {signal}"),
    };
    known.into()
}
