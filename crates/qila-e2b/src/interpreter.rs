//! Starting what runs cells of code in a sandbox, when it is first asked for.
use crate::INTERPRETER_PORT;
use qila_api::{ApiError, Exec, Kind, Node, Output, Process, Result, SandboxId, Tenant};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The program, inside.
const PROGRAM: &str = "/run/qila/interpreter";
/// The name that it is started with.
pub(crate) const TAG: &str = "qila-interpreter";
/// How long it may take until it listens.
const PATIENCE: Duration = Duration::from_secs(30);
/// Time between two looks whether it does.
const PROBE: Duration = Duration::from_millis(15);
/// How much of what it says before it listens is kept for an error.
const WORDS: usize = 2048;

/// Sees to it that the interpreter runs in a sandbox before it is spoken to, and is started once.
pub struct Interpreter {
    node: Arc<dyn Node>,
    /// Whoever asks for the same sandbox at the same time waits for the first.
    turns: Mutex<HashMap<SandboxId, Arc<tokio::sync::Mutex<()>>>>,
}

impl std::fmt::Debug for Interpreter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Interpreter")
    }
}

impl Interpreter {
    /// For the sandboxes of a node.
    pub fn new(node: Arc<dyn Node>) -> Interpreter {
        Interpreter {
            node,
            turns: Mutex::new(HashMap::new()),
        }
    }

    /// Done before a request is handed to this port. Ports other than the interpreter's are none of its business.
    ///
    /// # Errors
    /// There is no such sandbox, the program is not in it or ends at once, or it does not listen within 30 s.
    pub async fn before_port(&self, id: &SandboxId, port: u16) -> Result<()> {
        if port != INTERPRETER_PORT {
            return Ok(());
        }
        let tenant = self.node.find(id).await?.tenant;
        if self.listens(&tenant, id).await? {
            return Ok(());
        }
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            // Those for which nobody waits any more are forgotten.
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            turns.entry(id.clone()).or_default().clone()
        };
        let _first = turn.lock().await;
        if self.listens(&tenant, id).await? {
            return Ok(());
        }
        self.start(&tenant, id).await
    }

    async fn listens(&self, tenant: &Tenant, id: &SandboxId) -> Result<bool> {
        match self.node.connect(tenant, id, INTERPRETER_PORT).await {
            Ok(_) => Ok(true),
            // A paused sandbox is a conflict too, and says so when something is started in it.
            Err(e) if e.kind == Kind::Conflict => Ok(false),
            Err(e) => Err(e),
        }
    }

    async fn start(&self, tenant: &Tenant, id: &SandboxId) -> Result<()> {
        let running = self.node.processes(tenant, id).await?;
        let begun = running.iter().any(|p| p.exec.tag.as_deref() == Some(TAG));
        let mut process = match begun {
            true => None,
            false => {
                let exec = Exec {
                    argv: vec![PROGRAM.into(), "interpret".into()],
                    tag: Some(TAG.into()),
                    ..Exec::default()
                };
                Some(self.node.exec(tenant, id, exec).await?)
            }
        };
        let until = Instant::now() + PATIENCE;
        let mut words = Vec::new();
        while Instant::now() < until {
            if self.listens(tenant, id).await? {
                return Ok(());
            }
            match &mut process {
                Some(process) => overhear(process, &mut words).await?,
                None => tokio::time::sleep(PROBE).await,
            }
        }
        let late = format!("the interpreter did not listen after {} s", PATIENCE.as_secs());
        Err(ApiError::new(Kind::Timeout, late))
    }
}

/// Listens for a moment to what the program says.
async fn overhear(process: &mut Process, words: &mut Vec<u8>) -> Result<()> {
    let pause = tokio::time::sleep(PROBE);
    tokio::pin!(pause);
    loop {
        let said = tokio::select! {
            () = &mut pause => return Ok(()),
            said = process.output.recv() => said,
        };
        match said {
            Some(Output::Stdout(bytes) | Output::Stderr(bytes) | Output::Terminal(bytes)) => {
                let room = WORDS.saturating_sub(words.len());
                words.extend(bytes.iter().take(room));
            }
            Some(Output::Lost(_)) => {}
            Some(Output::Ended(_)) => {
                let said = String::from_utf8_lossy(words);
                let why = format!(
                    "the interpreter ended before it listened: {}",
                    said.trim().escape_debug()
                );
                return Err(ApiError::new(Kind::Conflict, why));
            }
            None => return Err(ApiError::new(Kind::Gone, "the sandbox ended")),
        }
    }
}
