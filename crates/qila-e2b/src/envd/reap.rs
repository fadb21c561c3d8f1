//! Programs whose client went away: the time that they were given is still all that they have.
use super::access::Access;
use qila_api::{Exec, Input, Kind, ProcessId, Select, State};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

const SIGKILL: i32 = 9;
/// Between two looks at a sandbox that cannot be spoken to now.
const AGAIN: Duration = Duration::from_secs(5);

/// Waits until the time of a program is over, then ends it if it still runs.
pub(super) async fn reap(access: &Access, pid: ProcessId, exec: &Exec, until: Instant) {
    sleep_until(until).await;
    loop {
        // Not so as to wake it: in a paused sandbox, nothing runs.
        match access.node().find(&access.id).await {
            Ok(sandbox) if sandbox.state == State::Running => {}
            Ok(_) => {
                sleep(AGAIN).await;
                continue;
            }
            Err(e) if matches!(e.kind, Kind::NotFound | Kind::Gone) => return,
            Err(_) => {
                sleep(AGAIN).await;
                continue;
            }
        }
        match end(access, pid, exec).await {
            Ok(()) => return,
            Err(e) if matches!(e.kind, Kind::NotFound | Kind::Gone) => return,
            Err(_) => sleep(AGAIN).await,
        }
    }
}

async fn end(access: &Access, pid: ProcessId, exec: &Exec) -> qila_api::Result<()> {
    // Its number may be another program's by now.
    let all = access.node().processes(&access.tenant, &access.id).await?;
    if !all
        .iter()
        .any(|p| p.pid == pid && p.exec.argv == exec.argv && p.exec.tag == exec.tag)
    {
        return Ok(());
    }
    let which = Select::Pid(pid);
    access
        .node()
        .tell(&access.tenant, &access.id, &which, Input::Signal(SIGKILL))
        .await
}
