//! Programs in a sandbox.
use crate::fault;
use crate::guest::{self, follow, word};
use crate::live::Live;
use qila_api::{
    ApiError, Attach, Exec, Input, Kind, Output, Process, ProcessId, ProcessInfo, Result, Select, Size,
    Stream,
};
use qila_wire::served::{Answer, Ask, Exec as Start, Program};
use std::pin::Pin;
use std::time::Duration;

/// Most bytes of arguments and environment together: with the rest of a frame they fit into it.
const MAX_WORDS: usize = 192 * 1024;
/// How long a template may take to become ready.
const READY: Duration = Duration::from_secs(300);
/// Time between two looks whether it is.
const PROBE: Duration = Duration::from_millis(50);

/// Puts variables over others.
pub(crate) fn overlay<'a>(environment: &mut Vec<String>, more: impl Iterator<Item = (&'a str, &'a str)>) {
    for (name, value) in more {
        environment.retain(|v| v.split_once('=').is_none_or(|(n, _)| n != name));
        environment.push(format!("{name}={value}"));
    }
}

fn words(live: &Live, exec: &Exec) -> Result<Start> {
    if !exec.warm && exec.argv.first().is_none_or(String::is_empty) {
        return Err(ApiError::invalid("there is no program to start"));
    }
    for (name, value) in &exec.environment {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(ApiError::invalid(format!(
                "`{}` cannot be a variable",
                name.escape_debug()
            )));
        }
    }
    let texts = exec.argv.iter().chain(&exec.cwd).chain(&exec.tag);
    if texts.clone().any(|t| t.contains('\0')) {
        return Err(ApiError::invalid(
            "a zero byte cannot be in arguments, directory or tag",
        ));
    }
    let (mut environment, home) = live.look(|r| (r.environment.clone(), r.home.clone()));
    overlay(
        &mut environment,
        exec.environment.iter().map(|(k, v)| (k.as_str(), v.as_str())),
    );
    let bytes: usize = texts.chain(&environment).map(|t| t.len() + 8).sum();
    if bytes > MAX_WORDS {
        return Err(ApiError::invalid(format!(
            "arguments and environment may have {MAX_WORDS} bytes together"
        )));
    }
    let cwd = match &exec.cwd {
        Some(dir) if dir.starts_with('/') => dir.clone(),
        Some(dir) => format!("{home}/{dir}"),
        None => home,
    };
    Ok(Start {
        argv: exec.argv.iter().map(|a| a.clone().into_bytes()).collect(),
        env: environment.into_iter().map(String::into_bytes).collect(),
        cwd: cwd.into_bytes(),
        tag: exec.tag.clone(),
        terminal: exec.terminal.map(size),
        input: exec.input,
    })
}

fn size(size: Size) -> qila_wire::Size {
    qila_wire::Size {
        rows: size.rows,
        cols: size.cols,
    }
}

/// Starts a program.
pub(crate) async fn exec(live: &Live, exec: Exec) -> Result<Process> {
    let start = words(live, &exec)?;
    let limit = live.look(|r| r.output_limit);
    if exec.warm {
        if exec.terminal.is_some() {
            return Err(ApiError::new(
                Kind::Unsupported,
                "a fork of a warm program has no terminal",
            ));
        }
        let (line, pid) = crate::warm::fork(live, &start).await?;
        return Ok(follow(line, pid, Some(0), limit));
    }
    let (line, answer) = guest::request(&live.dir, &Ask::Exec(start))
        .await
        .map_err(|e| not_started(&exec, e))?;
    match answer {
        Answer::Started { pid } => Ok(follow(line, pid, Some(0), limit)),
        _ => Err(fault::internal(
            "listening to a guest",
            &"it did not say that the program started",
        )),
    }
}

/// What a shell would say.
fn not_started(exec: &Exec, error: guest::LineError) -> ApiError {
    use rustix::io::Errno;
    let program = exec.argv.first().map_or("", String::as_str);
    match error {
        guest::LineError::Failed {
            errno: Errno::NOENT | Errno::NOTDIR,
            ..
        } => ApiError::new(
            Kind::NotFound,
            format!("`{program}` or its directory is not in the sandbox"),
        )
        .hint("check its name, `PATH` and `cwd`"),
        guest::LineError::Failed {
            errno: errno @ (Errno::ACCESS | Errno::NOEXEC),
            ..
        } => ApiError::new(Kind::Invalid, format!("`{program}` cannot be executed: {errno}")),
        other => fault::guest(other),
    }
}

async fn list(live: &Live) -> Result<Vec<Program>> {
    match guest::request(&live.dir, &Ask::Programs)
        .await
        .map_err(fault::guest)?
        .1
    {
        Answer::Programs(all) => Ok(all),
        _ => Err(fault::internal(
            "listening to a guest",
            &"it did not list its programs",
        )),
    }
}

/// Programs that run.
pub(crate) async fn running(live: &Live) -> Result<Vec<ProcessInfo>> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let info = |p: &Program| ProcessInfo {
        pid: ProcessId(p.pid),
        exec: Exec {
            argv: p.argv.iter().map(|a| text(a)).collect(),
            cwd: Some(text(&p.cwd)),
            tag: p.tag.clone(),
            terminal: p.terminal.then_some(Size { rows: 0, cols: 0 }),
            ..Exec::default()
        },
    };
    Ok(list(live).await?.iter().filter(|p| !p.ended).map(info).collect())
}

async fn number(live: &Live, which: &Select) -> Result<u32> {
    match which {
        Select::Pid(pid) => Ok(pid.0),
        Select::Tag(tag) => {
            let all = list(live).await?;
            let last = all.iter().rev().find(|p| p.tag.as_deref() == Some(tag));
            last.map(|p| p.pid)
                .ok_or_else(|| ApiError::not_found(format!("there is no process with the tag `{tag}`")))
        }
    }
}

/// Comes back to a program.
pub(crate) async fn attach(live: &Live, which: &Select, from: Attach) -> Result<Process> {
    let pid = number(live, which).await?;
    let from = match from {
        Attach::Now => None,
        Attach::From(at) => Some(at),
    };
    let asked = guest::request(&live.dir, &Ask::Attach { pid, from }).await;
    let (line, _) = asked.map_err(|e| unknown(pid, e))?;
    Ok(follow(line, pid, from, live.look(|r| r.output_limit)))
}

fn unknown(pid: u32, error: guest::LineError) -> ApiError {
    match error {
        guest::LineError::Failed {
            errno: rustix::io::Errno::SRCH,
            ..
        } => ApiError::not_found(format!("there is no process {pid}")),
        other => fault::guest(other),
    }
}

/// Says something to a program.
pub(crate) async fn tell(live: &Live, which: &Select, what: Input) -> Result<()> {
    let pid = number(live, which).await?;
    if let Input::Bytes(bytes) = &what
        && bytes.len() > qila_wire::served::PIECE
    {
        for piece in bytes.chunks(qila_wire::served::PIECE) {
            say(live, pid, Input::Bytes(bytes::Bytes::copy_from_slice(piece))).await?;
        }
        return Ok(());
    }
    say(live, pid, what).await
}

/// How long a program may leave what was said to it before lying there.
const HEARING: Duration = Duration::from_secs(60);

async fn say(live: &Live, pid: u32, what: Input) -> Result<()> {
    let begun = tokio::time::Instant::now();
    let say = word(what);
    loop {
        let asked = guest::request(
            &live.dir,
            &Ask::Tell {
                pid,
                say: say.clone(),
            },
        )
        .await;
        match asked {
            Ok(_) => return Ok(()),
            // It has not taken yet what was said before.
            Err(guest::LineError::Failed {
                errno: rustix::io::Errno::AGAIN,
                ..
            }) if begun.elapsed() < HEARING => tokio::time::sleep(Duration::from_millis(5)).await,
            Err(e) => return Err(unknown(pid, e)),
        }
    }
}

/// Connects to a port that a program listens on.
pub(crate) async fn connect(live: &Live, port: u16) -> Result<Pin<Box<dyn Stream>>> {
    if port == 0 {
        return Err(ApiError::invalid("there is no port 0"));
    }
    let asked = guest::request(&live.dir, &Ask::Connect(port)).await;
    let (mut line, _) = asked.map_err(|e| match e {
        guest::LineError::Failed { errno, .. } if errno != rustix::io::Errno::AGAIN => ApiError::new(
            Kind::Conflict,
            format!("nothing in the sandbox listens on port {port}"),
        ),
        other => fault::guest(other),
    })?;
    let fd = line.descriptor().map_err(fault::guest)?;
    let fail = |e: std::io::Error| fault::internal("a connection to a sandbox", &e);
    let socket = std::net::TcpStream::from(fd);
    socket.set_nonblocking(true).map_err(fail)?;
    let socket = tokio::net::TcpStream::from_std(socket).map_err(fail)?;
    let _ = socket.set_nodelay(true); // a matter of speed only
    Ok(Box::pin(socket))
}

fn shell(command: &str) -> Exec {
    Exec {
        argv: vec!["/bin/sh".into(), "-c".into(), command.into()],
        ..Exec::default()
    }
}

/// Starts what a template wants to run and waits until it is ready.
pub(crate) async fn make_ready(live: &Live, start: Option<&str>, ready: Option<&str>) -> Result<()> {
    if let Some(command) = start {
        // Nobody listens to it: it goes on by itself.
        let begun = exec(
            live,
            Exec {
                tag: Some("start".into()),
                ..shell(command)
            },
        )
        .await?;
        drop(begun);
    }
    let Some(command) = ready else { return Ok(()) };
    let probe = async {
        loop {
            let mut process = exec(live, shell(command)).await?;
            while let Some(said) = process.output.recv().await {
                if let Output::Ended(status) = said
                    && status.code == Some(0)
                {
                    return Ok(());
                }
            }
            tokio::time::sleep(PROBE).await;
        }
    };
    match tokio::time::timeout(READY, probe).await {
        Ok(done) => done,
        Err(_) => Err(ApiError::new(
            Kind::Timeout,
            format!("the template was not ready after {} s", READY.as_secs()),
        )
        .clause("template.ready")),
    }
}
