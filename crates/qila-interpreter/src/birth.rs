//! Starting a kernel: a private directory with its sockets, the program, and the first words with it.
use crate::kernel::{KernelError, confused, is_idle, of};
use jupyter_protocol::connection_info::{ConnectionInfo, Transport};
use jupyter_protocol::messaging::{JupyterMessage, KernelInfoRequest};
use jupyter_zmq_client::{
    ClientIoPubConnection, ClientShellConnection, create_client_iopub_connection,
    create_client_shell_connection_with_identity, peer_identity_for_session,
};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio as Streams;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How long a kernel may take until it answers.
const BIRTH: Duration = Duration::from_secs(60);
/// Time between two tries to reach one that does not listen yet.
const PROBE: Duration = Duration::from_millis(20);
/// How much of what a kernel says that does not start is told, in bytes. What stands last says why.
const WORDS: usize = 4096;

/// What belongs to a kernel that answers.
pub(crate) struct Born {
    pub child: Child,
    pub shell: ClientShellConnection,
    pub iopub: ClientIoPubConnection,
    pub place: Place,
}

/// The directory of a kernel's sockets, which only its user may enter. It goes with the value.
pub(crate) struct Place(PathBuf);

impl Place {
    fn make() -> Result<Place, KernelError> {
        let path = std::env::temp_dir().join(format!(".kernel-{}", random()?));
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|e| KernelError::Start(format!("{}: {e}", path.display())))?;
        Ok(Place(path))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0); // it is in the sandbox's memory, and goes with that at the latest
    }
}

fn random() -> Result<String, KernelError> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).map_err(|e| KernelError::Start(e.to_string()))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// Starts one, in a directory, and waits until it answers.
pub(crate) async fn start(python: &str, cwd: &Path) -> Result<Born, KernelError> {
    let place = Place::make()?;
    let info = ConnectionInfo {
        // A file's name begins so, and ends with the "port". Names of sockets are short: 108 bytes.
        ip: place.0.join("s").display().to_string(),
        transport: Transport::IPC,
        shell_port: 1,
        iopub_port: 2,
        stdin_port: 3,
        control_port: 4,
        hb_port: 5,
        key: random()?,
        signature_scheme: "hmac-sha256".into(),
        kernel_name: Some("python3".into()),
    };
    let file = place.0.join("connection.json");
    write_private(&file, &info)?;
    let mut child = Command::new(python)
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
        .map_err(|e| KernelError::Start(format!("{python}: {e}")))?;
    let session = random()?;
    let joined = timeout(BIRTH, join(&mut child, &info, &session))
        .await
        .unwrap_or_else(|_| {
            let late = format!("it did not answer within {} s", BIRTH.as_secs());
            Err(KernelError::Start(late))
        });
    let (shell, iopub) = joined?;
    if let Some(mut err) = child.stderr.take() {
        // What a kernel says of itself is of no cell; unread, it would stop the kernel when the pipe is full.
        tokio::spawn(async move { tokio::io::copy(&mut err, &mut tokio::io::sink()).await });
    }
    let _ = std::fs::remove_file(&file); // read by now
    Ok(Born {
        child,
        shell,
        iopub,
        place,
    })
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
    let mut text = Vec::new();
    if let Some(err) = &mut child.stderr {
        // A pipe holds 64 KiB. What its children still hold open is not waited for.
        let all = err.take(64 * 1024);
        tokio::pin!(all);
        let _ = timeout(Duration::from_millis(200), all.read_to_end(&mut text)).await;
    }
    let last = text.len().saturating_sub(WORDS);
    String::from_utf8_lossy(text.get(last..).unwrap_or(&[])).into_owned()
}

async fn connect(
    info: &ConnectionInfo,
    session: &str,
) -> Result<(ClientShellConnection, ClientIoPubConnection), KernelError> {
    let identity = peer_identity_for_session(session).map_err(confused)?;
    let mut shell = loop {
        match create_client_shell_connection_with_identity(info, session, identity.clone()).await {
            Ok(shell) => break shell,
            Err(_) => tokio::time::sleep(PROBE).await, // it does not listen yet
        }
    };
    let mut iopub = loop {
        match create_client_iopub_connection(info, "", session).await {
            Ok(iopub) => break iopub,
            Err(_) => tokio::time::sleep(PROBE).await,
        }
    };
    // A subscription takes effect some time after it was asked for: it is there when what is asked comes out of it.
    loop {
        let message = JupyterMessage::new(KernelInfoRequest {}, None);
        let id = message.header.msg_id.clone();
        shell.send(message).await.map_err(confused)?;
        while !of(&shell.read().await.map_err(confused)?, &id) {}
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
    let start = |e: &dyn std::fmt::Display| KernelError::Start(e.to_string());
    let text = serde_json::to_vec(info).map_err(|e| start(&e))?;
    let made = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file);
    made.and_then(|mut f| f.write_all(&text)).map_err(|e| start(&e))
}
