//! Programs whose client went away: the time that they were given is still all that they have.
use super::access::Access;
use qila_api::{Exec, Input, Kind, ProcessId, Result, SandboxId, Select, State};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

const SIGKILL: i32 = 9;
/// Between two looks at a program.
const AGAIN: Duration = Duration::from_secs(5);
/// Programs of one sandbox that have time left and no client. Beyond, they are killed at once.
const MOST: usize = 256;
/// How often one of these is told to end that cannot be told.
const TRIES: u32 = 120;

/// How many programs are watched, by sandbox.
#[derive(Debug, Default)]
pub(super) struct Reapers(Arc<Mutex<HashMap<SandboxId, usize>>>);

struct Place {
    all: Arc<Mutex<HashMap<SandboxId, usize>>>,
    id: SandboxId,
}

impl Reapers {
    fn place(&self, id: &SandboxId) -> Option<Place> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let n = all.entry(id.clone()).or_default();
        (*n < MOST).then(|| {
            *n += 1;
            Place {
                all: Arc::clone(&self.0),
                id: id.clone(),
            }
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(n) = all.get_mut(&self.id) {
            *n -= 1;
            if *n == 0 {
                all.remove(&self.id);
            }
        }
    }
}

/// By what a program is known again: its number may be another's by now.
pub(super) struct Known {
    pid: ProcessId,
    print: [u8; 32],
}

impl Known {
    /// Its arguments may be long, and the time too: a digest of them is enough.
    pub(super) fn new(pid: ProcessId, print: [u8; 32]) -> Known {
        Known { pid, print }
    }
}

/// What it is known by beside its number.
pub(super) fn print(exec: &Exec) -> [u8; 32] {
    let mut digest = Sha256::new();
    for word in exec.argv.iter().chain(&exec.tag) {
        digest.update(word.len().to_le_bytes());
        digest.update(word);
    }
    digest.update([u8::from(exec.tag.is_some())]);
    digest.finalize().into()
}

/// Waits until the time of a program is over, then ends it; until it or its sandbox is gone.
pub(super) async fn reap(access: Access, known: Known, until: Instant) {
    let place = access.envd.0.reapers.place(&access.id);
    let (until, mut tries) = match &place {
        Some(_) => (until, u32::MAX),
        None => (Instant::now(), TRIES),
    };
    while tries > 0 && !is_over(&access, &known, until).await {
        tries -= 1;
        let now = Instant::now();
        let next = now + AGAIN;
        sleep_until(if now < until { next.min(until) } else { next }).await;
    }
}

/// Whether there is nothing to wait for any more.
async fn is_over(access: &Access, known: &Known, until: Instant) -> bool {
    // Not so as to wake it: in a paused sandbox, nothing runs.
    let over = match access.node().find(&access.id).await {
        Ok(sandbox) if sandbox.state == State::Running => end(access, known, until).await,
        Ok(_) => Ok(false),
        Err(e) => Err(e),
    };
    over.unwrap_or_else(|e| matches!(e.kind, Kind::NotFound | Kind::Gone))
}

/// Ends it if its time is over. True: it is gone, or was told.
async fn end(access: &Access, known: &Known, until: Instant) -> Result<bool> {
    let all = access.node().processes(&access.tenant, &access.id).await?;
    let is = |exec: &Exec| print(exec) == known.print;
    if !all.iter().any(|p| p.pid == known.pid && is(&p.exec)) {
        return Ok(true);
    }
    if Instant::now() < until {
        return Ok(false);
    }
    let which = Select::Pid(known.pid);
    let what = Input::Signal(SIGKILL);
    access
        .node()
        .tell(&access.tenant, &access.id, &which, what)
        .await?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sandbox_has_places_of_its_own_and_gets_them_back() {
        let reapers = Reapers::default();
        let [one, other] = ["one", "other"].map(|id| SandboxId::parse(id).unwrap());
        let mut all: Vec<_> = (0..MOST).map(|_| reapers.place(&one).unwrap()).collect();
        assert!(reapers.place(&one).is_none());
        assert!(reapers.place(&other).is_some());
        all.pop();
        all.push(reapers.place(&one).unwrap());
        assert!(reapers.place(&one).is_none());
        drop(all);
        assert!(reapers.0.lock().unwrap().is_empty());
    }

    #[test]
    fn a_program_is_known_by_all_its_words() {
        let exec = |argv: &[&str], tag: Option<&str>| Exec {
            argv: argv.iter().map(|w| (*w).to_owned()).collect(),
            tag: tag.map(str::to_owned),
            ..Exec::default()
        };
        let all = [
            exec(&["a", "b"], None),
            exec(&["ab"], None),
            exec(&["a"], Some("b")),
            exec(&["a"], None),
        ];
        for (n, one) in all.iter().enumerate() {
            for (m, other) in all.iter().enumerate() {
                assert_eq!(print(one) == print(other), n == m);
            }
        }
    }
}
