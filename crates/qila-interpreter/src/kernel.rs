//! Python: one `ipykernel`, and the conversation with it over ZeroMQ.
use crate::birth::{self, Place};
use crate::cell::{Cell, Enough, Listener, Said};
use crate::heard::Heard;
use crate::mime::parts;
use jupyter_protocol::messaging::{
    ExecuteRequest, ExecutionState, JupyterMessage, JupyterMessageContent, ReplyStatus, Stdio,
};
use jupyter_zmq_client::ClientShellConnection;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Map, Value};
use std::path::Path;
use std::time::Duration;
use tokio::process::Child;
use tokio::time::{Instant, timeout};

/// Run in every new kernel before anything else.
const STARTUP: &str = include_str!("drivers/startup.py");
/// How long code of our own may take in a kernel.
const QUIET: Duration = Duration::from_secs(60);
/// How long an interrupted cell may take to end.
const ENDING: Duration = Duration::from_secs(5);
/// Time between two interruptions of a cell that goes on: one that comes before the kernel has begun with it is lost.
const AGAIN: Duration = Duration::from_secs(1);
/// How long what a kernel published before it ended may take to come.
const LAST: Duration = Duration::from_millis(100);

/// Why a kernel is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KernelError {
    #[error("the kernel cannot be started: {0}")]
    Start(String),
    #[error("the kernel has ended")]
    Ended,
    #[error("the kernel speaks no Jupyter: {0}")]
    Confused(String),
}

/// A kernel.
pub(crate) struct Kernel {
    child: Child,
    shell: ClientShellConnection,
    heard: Heard,
    _place: Place,
}

pub(crate) fn confused(e: impl std::fmt::Display) -> KernelError {
    KernelError::Confused(e.to_string())
}

impl Kernel {
    /// Starts one, in a directory.
    pub(crate) async fn start(python: &str, cwd: &Path) -> Result<Kernel, KernelError> {
        let born = birth::start(python, cwd).await?;
        let mut kernel = Kernel {
            child: born.child,
            shell: born.shell,
            heard: Heard::new(born.iopub),
            _place: born.place,
        };
        match kernel.quietly(STARTUP).await? {
            ReplyStatus::Ok => Ok(kernel),
            ReplyStatus::Error | ReplyStatus::Aborted => {
                Err(KernelError::Start("its IPython is not one that is known".into()))
            }
        }
    }

    /// Runs code of our own, of which nothing is told.
    async fn quietly(&mut self, code: &str) -> Result<ReplyStatus, KernelError> {
        let message = request(code, true);
        let id = message.header.msg_id.clone();
        self.shell.send(message).await.map_err(confused)?;
        tokio::select! {
            status = reply(&mut self.shell, &id) => status,
            _ = self.child.wait() => Err(KernelError::Ended),
            () = tokio::time::sleep(QUIET) => Err(KernelError::Ended),
        }
    }

    /// Runs a cell. An error means that the kernel is of no use any more.
    pub(crate) async fn run(&mut self, cell: &Cell, to: &mut Listener) -> Result<(), KernelError> {
        if !cell.env.is_empty() {
            let set = format!("get_ipython()._qila_environment({})", python_text(&cell.env));
            if self.quietly(&set).await? != ReplyStatus::Ok {
                let why = "its variables cannot be set, and it was not run";
                let _ = to.say(Said::failure("EnvironmentError", why)); // gone or not, it is not run
                return Ok(());
            }
        }
        let message = request(&cell.code, false);
        let id = message.header.msg_id.clone();
        self.heard.want(Some(&id));
        self.shell.send(message).await.map_err(confused)?;
        let done = self.hear(&id, to).await;
        self.heard.want(None);
        done?;
        if !cell.env.is_empty() {
            self.quietly("get_ipython()._qila_environment(None)").await?;
        }
        Ok(())
    }

    /// Until a cell has ended: it has been answered, and all that it published has come.
    async fn hear(&mut self, id: &str, to: &mut Listener) -> Result<(), KernelError> {
        let (mut answered, mut idle) = (false, false);
        let mut end: Option<Instant> = None;
        // Once it has been interrupted: when it is to be again.
        let mut again: Option<Instant> = None;
        while !(answered && idle) {
            let heard = tokio::select! {
                heard = self.heard.next(), if !idle => heard.ok_or_else(|| confused("it makes no sense"))?,
                answer = reply(&mut self.shell, id), if !answered => {
                    answer?;
                    answered = true;
                    end = Some(Instant::now() + ENDING);
                    continue;
                }
                _ = self.child.wait() => {
                    self.last_words(to).await;
                    return Err(KernelError::Ended);
                }
                () = to.gone(), if again.is_none() => {
                    (again, end) = self.interrupted();
                    continue;
                }
                () = until(again), if !answered => {
                    (again, _) = self.interrupted();
                    continue;
                }
                () = until(end) => {
                    if !answered {
                        return Err(KernelError::Ended); // it does not let itself be interrupted
                    }
                    let lost = "some of what this cell said was lost";
                    let _ = to.say(Said::failure("OutputLost", lost)); // gone or not, the cell has ended
                    return Ok(());
                }
            };
            let said = match heard {
                Ok(message) if is_idle(&message.content) => {
                    idle = true;
                    end = end.or(Some(Instant::now() + ENDING));
                    continue;
                }
                Ok(message) => said(message.content),
                Err(why) => Some(Said::failure("MalformedMessage", why)),
            };
            if answered {
                end = Some(Instant::now() + ENDING); // more comes
            }
            if let Some(said) = said
                && again.is_none()
                && to.say(said) == Err(Enough)
            {
                (again, end) = self.interrupted();
            }
        }
        Ok(())
    }

    /// What a kernel that has ended had published before.
    async fn last_words(&mut self, to: &mut Listener) {
        while let Ok(Some(Ok(message))) = timeout(LAST, self.heard.next()).await {
            if let Some(said) = said(message.content)
                && to.say(said) == Err(Enough)
            {
                return;
            }
        }
    }

    /// Interrupts what runs, and what that has started: when it is to be done again, and by when it must have ended.
    fn interrupted(&self) -> (Option<Instant>, Option<Instant>) {
        self.signal(Signal::INT);
        let now = Instant::now();
        (Some(now + AGAIN), Some(now + ENDING))
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.id().and_then(|p| i32::try_from(p).ok());
        if let Some(pid) = id.and_then(Pid::from_raw) {
            let _ = kill_process_group(pid, signal); // one that is gone is seen to be
        }
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        self.signal(Signal::KILL); // what it has started goes with it
    }
}

fn request(code: &str, silent: bool) -> JupyterMessage {
    let request = ExecuteRequest {
        code: code.to_owned(),
        silent,
        store_history: !silent,
        user_expressions: None,
        allow_stdin: false,
        // Nothing is ever queued behind a cell: there is nothing to be thrown away when it fails.
        stop_on_error: false,
    };
    JupyterMessage::new(request, None)
}

/// How a request was answered.
async fn reply(shell: &mut ClientShellConnection, id: &str) -> Result<ReplyStatus, KernelError> {
    loop {
        let message = shell.read().await.map_err(confused)?;
        if of(&message, id) {
            return match message.content {
                JupyterMessageContent::ExecuteReply(reply) => Ok(reply.status),
                _ => Err(confused("a request to run is answered with something else")),
            };
        }
    }
}

async fn until(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}

pub(crate) fn of(message: &JupyterMessage, id: &str) -> bool {
    message.parent_header.as_ref().is_some_and(|p| p.msg_id == id)
}

pub(crate) fn is_idle(content: &JupyterMessageContent) -> bool {
    matches!(content, JupyterMessageContent::Status(s) if s.execution_state == ExecutionState::Idle)
}

/// What a message says of a cell.
fn said(content: JupyterMessageContent) -> Option<Said> {
    match content {
        JupyterMessageContent::StreamContent(stream) => Some(match stream.name {
            Stdio::Stdout => Said::Stdout(stream.text),
            Stdio::Stderr => Said::Stderr(stream.text),
        }),
        JupyterMessageContent::ExecuteResult(result) => {
            Some(Said::Result(parts(&bundle(&result.data)), true))
        }
        JupyterMessageContent::DisplayData(display) => {
            Some(Said::Result(parts(&bundle(&display.data)), false))
        }
        JupyterMessageContent::ErrorOutput(error) => Some(Said::Error {
            name: error.ename,
            value: error.evalue,
            traceback: error.traceback.join("\n"),
        }),
        JupyterMessageContent::ExecuteInput(input) => Some(Said::Count(
            u64::try_from(input.execution_count.value()).unwrap_or(0),
        )),
        _ => None,
    }
}

fn bundle<T: serde::Serialize>(media: &T) -> Map<String, Value> {
    match serde_json::to_value(media) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

/// A map of texts as Python writes one: JSON's strings are Python's, as far as they go.
fn python_text(env: &std::collections::BTreeMap<String, String>) -> String {
    serde_json::to_string(env).unwrap_or_else(|_| "{}".into())
}
