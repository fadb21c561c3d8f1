//! The end of programs whose client went away, or whose time is over.
use crate::app::App;
use crate::problem::Problem;
use qila_api::{
    ApiError, Exec, Input, Kind, Node, Process, ProcessId, Result, SandboxId, Select, State, Tenant,
};
use std::sync::Arc;
use std::time::Duration;

pub(crate) const SIGKILL: i32 = 9;
/// How often a program is told to end that cannot be told, and the time between.
const TRIES: u32 = 3_600;
const AGAIN: Duration = Duration::from_secs(1);

/// Starts a program. `kill`: if whoever asked goes away before its end, it is killed; while it is being started, too.
pub(crate) async fn begin(
    app: &App,
    tenant: &Tenant,
    id: &SandboxId,
    exec: Exec,
    kill: bool,
) -> std::result::Result<(Process, Killer), Problem> {
    let (node, tenant, id) = (Arc::clone(&app.node), tenant.clone(), id.clone());
    // In a task of its own: what nobody waits for any more is dropped there, once it is there.
    let beginning = tokio::spawn(async move {
        let process = node.exec(&tenant, &id, exec).await?;
        let pid = process.pid;
        let killer = Killer {
            node,
            tenant,
            id,
            pid,
            armed: kill,
        };
        Ok((process, killer))
    });
    let broke = |_| ApiError::new(Kind::Internal, "the start of the program broke off");
    let begun: Result<_> = beginning.await.map_err(broke)?;
    Ok(begun?)
}

/// Kills a program whose client went away before its end.
#[derive(Clone)]
pub(crate) struct Killer {
    node: Arc<dyn Node>,
    tenant: Tenant,
    id: SandboxId,
    pid: ProcessId,
    armed: bool,
}

impl Killer {
    /// For a program that goes on when its client goes away.
    pub fn idle(app: &App, tenant: &Tenant, id: &SandboxId, pid: ProcessId) -> Killer {
        Killer {
            node: Arc::clone(&app.node),
            tenant: tenant.clone(),
            id: id.clone(),
            pid,
            armed: false,
        }
    }

    /// It ended: there is nothing to kill any more.
    pub fn disarm(&mut self) {
        self.armed = false;
    }

    /// Sends it a signal, past whatever it has not read yet.
    pub async fn signal(&self, number: i32) -> Result<()> {
        let which = Select::Pid(self.pid);
        let what = Input::Signal(number);
        self.node.tell(&self.tenant, &self.id, &which, what).await
    }

    /// Kills it now; if it cannot be told, soon.
    pub fn kill(&self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let mut killer = self.clone();
        killer.disarm();
        runtime.spawn(async move {
            for _ in 0..TRIES {
                match killer.end().await {
                    Ok(()) => return,
                    // It has ended meanwhile.
                    Err(e) if matches!(e.kind, Kind::NotFound | Kind::Gone) => return,
                    Err(_) => tokio::time::sleep(AGAIN).await,
                }
            }
        });
    }

    /// Not so as to wake it: in a paused sandbox, nothing runs.
    async fn end(&self) -> Result<()> {
        match self.node.find(&self.id).await?.state {
            State::Running => self.signal(SIGKILL).await,
            State::Paused => Err(ApiError::new(Kind::Conflict, "it is paused")),
        }
    }
}

impl Drop for Killer {
    fn drop(&mut self) {
        if self.armed {
            self.kill();
        }
    }
}
