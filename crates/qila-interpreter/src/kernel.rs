//! Python: one `ipykernel`, and the conversation with it over ZeroMQ.
use crate::cell::{Cell, Enough, Listener, Said};
use crate::mime::parts;
use jupyter_protocol::connection_info::{ConnectionInfo, Transport};
use jupyter_protocol::messaging::{
    ExecuteRequest, ExecutionState, JupyterMessage, JupyterMessageContent, KernelInfoRequest, Stdio,
};
use jupyter_zmq_client::{
    ClientIoPubConnection, ClientShellConnection, create_client_iopub_connection,
    create_client_shell_connection_with_identity, peek_ports, peer_identity_for_session,
};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Map, Value};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Stdio as Streams;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Run in every new kernel before anything else.
const STARTUP: &str = include_str!("drivers/startup.py");
/// How long a kernel may take until it answers.
const BIRTH: Duration = Duration::from_secs(60);
/// How long an interrupted cell may take to end.
const ENDING: Duration = Duration::from_secs(5);

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
    iopub: ClientIoPubConnection,
    file: PathBuf,
}

fn random() -> Result<String, KernelError> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).map_err(|e| KernelError::Start(e.to_string()))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

fn confused(e: impl std::fmt::Display) -> KernelError {
    KernelError::Confused(e.to_string())
}

impl Kernel {
    /// Starts one, in a directory.
    pub(crate) async fn start(python: &str, cwd: &Path) -> Result<Kernel, KernelError> {
        let start = |e: &dyn std::fmt::Display| KernelError::Start(e.to_string());
        let ports = peek_ports(IpAddr::V4(Ipv4Addr::LOCALHOST), 5)
            .await
            .map_err(|e| start(&e))?;
        let [shell_port, iopub_port, stdin_port, control_port, hb_port] =
            <[u16; 5]>::try_from(ports).map_err(|_| KernelError::Start("there are no ports".into()))?;
        let info = ConnectionInfo {
            ip: "127.0.0.1".into(),
            transport: Transport::TCP,
            shell_port,
            iopub_port,
            stdin_port,
            control_port,
            hb_port,
            key: random()?,
            signature_scheme: "hmac-sha256".into(),
            kernel_name: Some("python3".into()),
        };
        let file = std::env::temp_dir().join(format!(".kernel-{}.json", random()?));
        write_private(&file, &info)?;
        let child = Command::new(python)
            .args(["-Xfrozen_modules=off", "-m", "ipykernel_launcher", "-f"])
            .arg(&file)
            .env("MPLBACKEND", "module://matplotlib_inline.backend_inline")
            .current_dir(cwd)
            .process_group(0)
            .stdin(Streams::null())
            .stdout(Streams::null())
            .stderr(Streams::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| start(&format!("{python}: {e}")))?;
        let mut child = child;
        let session = random()?;
        let joined = timeout(BIRTH, join(&mut child, &info, &session)).await;
        let (shell, iopub) = match joined {
            Ok(Ok(both)) => both,
            Ok(Err(e)) => {
                let _ = std::fs::remove_file(&file);
                return Err(e);
            }
            Err(_) => {
                let _ = std::fs::remove_file(&file);
                return Err(KernelError::Start(format!(
                    "it did not answer within {} s",
                    BIRTH.as_secs()
                )));
            }
        };
        let mut kernel = Kernel {
            child,
            shell,
            iopub,
            file,
        };
        let _ = std::fs::remove_file(&kernel.file); // read by now, and its key is of no use to anybody else
        kernel.quietly(STARTUP).await?;
        Ok(kernel)
    }

    async fn quietly(&mut self, code: &str) -> Result<(), KernelError> {
        let id = self.ask(code, true).await?;
        loop {
            let message = timeout(BIRTH, self.iopub.read())
                .await
                .map_err(|_| KernelError::Ended)?
                .map_err(confused)?;
            if of(&message, &id) && is_idle(&message.content) {
                return self.reply(&id).await;
            }
        }
    }

    async fn ask(&mut self, code: &str, silent: bool) -> Result<String, KernelError> {
        let request = ExecuteRequest {
            code: code.to_owned(),
            silent,
            store_history: !silent,
            user_expressions: None,
            allow_stdin: false,
            // Nothing is ever queued behind a cell: there is nothing to be thrown away when it fails.
            stop_on_error: false,
        };
        let message = JupyterMessage::new(request, None);
        let id = message.header.msg_id.clone();
        self.shell.send(message).await.map_err(confused)?;
        Ok(id)
    }

    async fn reply(&mut self, id: &str) -> Result<(), KernelError> {
        loop {
            let message = timeout(ENDING, self.shell.read())
                .await
                .map_err(|_| KernelError::Ended)?
                .map_err(confused)?;
            if of(&message, id) {
                return Ok(());
            }
        }
    }

    /// Runs a cell. An error means that the kernel is of no use any more.
    pub(crate) async fn run(&mut self, cell: &Cell, to: &mut Listener) -> Result<(), KernelError> {
        if !cell.env.is_empty() {
            self.quietly(&format!("_qila_environment({})", python_text(&cell.env)))
                .await?;
        }
        let id = self.ask(&cell.code, false).await?;
        let mut interrupted = None;
        loop {
            let ending = interrupted;
            let message = tokio::select! {
                message = self.iopub.read() => message.map_err(confused)?,
                _ = self.child.wait() => return Err(KernelError::Ended),
                () = to.gone(), if ending.is_none() => {
                    interrupted = Some(self.interrupt());
                    continue;
                }
                () = until(ending) => return Err(KernelError::Ended), // it does not let itself be interrupted
            };
            if !of(&message, &id) {
                continue;
            }
            if is_idle(&message.content) {
                break;
            }
            if let Some(said) = said(message.content)
                && interrupted.is_none()
                && to.say(said).await == Err(Enough)
            {
                interrupted = Some(self.interrupt());
            }
        }
        self.reply(&id).await?;
        if !cell.env.is_empty() {
            self.quietly("_qila_environment(None)").await?;
        }
        Ok(())
    }

    /// Interrupts what runs; answers until when it has to have ended.
    fn interrupt(&self) -> tokio::time::Instant {
        if let Some(pid) = self
            .child
            .id()
            .and_then(|p| i32::try_from(p).ok())
            .and_then(Pid::from_raw)
        {
            let _ = kill_process_group(pid, Signal::INT); // one that is gone is seen to be
        }
        tokio::time::Instant::now() + ENDING
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        // What it has started goes with it.
        if let Some(pid) = self
            .child
            .id()
            .and_then(|p| i32::try_from(p).ok())
            .and_then(Pid::from_raw)
        {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

async fn until(end: Option<tokio::time::Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}

fn of(message: &JupyterMessage, id: &str) -> bool {
    message.parent_header.as_ref().is_some_and(|p| p.msg_id == id)
}

fn is_idle(content: &JupyterMessageContent) -> bool {
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

/// Waits until it answers on both sockets, or ends.
async fn join(
    child: &mut Child,
    info: &ConnectionInfo,
    session: &str,
) -> Result<(ClientShellConnection, ClientIoPubConnection), KernelError> {
    tokio::select! {
        ended = child.wait() => {
            let how = ended.map_or_else(|e| e.to_string(), |s| s.to_string());
            let why = words(child).await;
            let hint = if why.contains("ipykernel") { "; `pip install ipykernel` in the sandbox's template" } else { "" };
            Err(KernelError::Start(format!("it ended at once ({how}): {}{hint}", why.trim())))
        }
        joined = connect(info, session) => joined,
    }
}

async fn words(child: &mut Child) -> String {
    use tokio::io::AsyncReadExt;
    let mut text = Vec::new();
    if let Some(err) = &mut child.stderr {
        let _ = timeout(Duration::from_millis(200), err.take(4096).read_to_end(&mut text)).await;
    }
    String::from_utf8_lossy(&text).into_owned()
}

async fn connect(
    info: &ConnectionInfo,
    session: &str,
) -> Result<(ClientShellConnection, ClientIoPubConnection), KernelError> {
    let identity = peer_identity_for_session(session).map_err(confused)?;
    let shell = loop {
        match create_client_shell_connection_with_identity(info, session, identity.clone()).await {
            Ok(shell) => break shell,
            // It does not listen yet.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    let iopub = loop {
        match create_client_iopub_connection(info, "", session).await {
            Ok(iopub) => break iopub,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    let (mut shell, mut iopub) = (shell, iopub);
    // A subscription takes effect some time after it was asked for: it is there when what is asked comes out of it.
    loop {
        let message = JupyterMessage::new(KernelInfoRequest {}, None);
        let id = message.header.msg_id.clone();
        shell.send(message).await.map_err(confused)?;
        loop {
            if of(&shell.read().await.map_err(confused)?, &id) {
                break;
            }
        }
        if let Ok(heard) = timeout(Duration::from_millis(100), idle(&mut iopub, &id)).await {
            heard?;
            return Ok((shell, iopub));
        }
    }
}

async fn idle(iopub: &mut ClientIoPubConnection, id: &str) -> Result<(), KernelError> {
    loop {
        let message = iopub.read().await.map_err(confused)?;
        if of(&message, id) && is_idle(&message.content) {
            return Ok(());
        }
    }
}

fn write_private(file: &Path, info: &ConnectionInfo) -> Result<(), KernelError> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let start = |e: &dyn std::fmt::Display| KernelError::Start(e.to_string());
    let text = serde_json::to_vec(info).map_err(|e| start(&e))?;
    let made = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file);
    made.and_then(|mut f| f.write_all(&text)).map_err(|e| start(&e))
}

/// A map of texts as Python writes one: JSON's strings are Python's, as far as they go.
fn python_text(env: &std::collections::BTreeMap<String, String>) -> String {
    serde_json::to_string(env).unwrap_or_else(|_| "{}".into())
}
