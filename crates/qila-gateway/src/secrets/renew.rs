//! Values that are short-lived by the policy's word: had anew before they are over, and out of force when they are.
use super::{Entry, Held};
use crate::gate::Gate;
use qila_types::EventKind;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout_at};

/// Shortest time between two tries.
const PAUSE: Duration = Duration::from_secs(1);

/// Starts what keeps each of them, for as long as the gateway runs.
pub(crate) fn begin(gate: &Rc<Gate>) {
    let mut at = 0;
    while let Some(entry) = gate.secrets.get(at) {
        if let Some(ttl) = entry.ttl {
            tokio::task::spawn_local(keep(gate.clone(), at, ttl));
        }
        at += 1;
    }
}

async fn keep(gate: Rc<Gate>, at: usize, ttl: Duration) {
    let mut end = Instant::now() + ttl;
    loop {
        let Some(entry) = gate.secrets.get(at) else { return };
        sleep_until(end - ttl / 10).await;
        if gate.secrets.is_over(at) {
            return;
        }
        let had = match timeout_at(end, again(&gate, at, entry)).await {
            Ok(had) => had,
            Err(_) => Err("it takes too long".to_owned()),
        };
        match had {
            Ok(()) => end = Instant::now() + ttl,
            Err(why) => {
                sleep_until(end).await;
                gate.secrets.lapse(
                    at,
                    &format!("its time is over, and it could not be had anew: {why}"),
                );
                end = Instant::now() + (ttl / 10).max(PAUSE);
            }
        }
    }
}

/// Has a value anew, and puts it in force once that is recorded.
async fn again(gate: &Gate, at: usize, entry: &Entry) -> Result<(), String> {
    let keeper = gate.secrets.keeper.as_ref().ok_or("nobody reads it")?;
    let text = keeper.read(at).await?;
    let held = entry.held(&text).map_err(|e| e.to_string())?;
    if gate.secrets.is_over(at) {
        return Ok(());
    }
    let credential = || entry.name.clone();
    let created = EventKind::LeaseCreated {
        credential: credential(),
    };
    gate.recorder.durable(created).await.map_err(|e| e.to_string())?;
    let replaced = matches!(gate.secrets.live().held(at), Some(Held::Text(_)));
    gate.secrets.put(at, held).map_err(|e| e.to_string())?;
    if replaced {
        gate.recorder.later(EventKind::LeaseRevoked {
            credential: credential(),
        });
    }
    Ok(())
}
