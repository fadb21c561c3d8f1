//! Values that are short-lived by the policy's word: had anew before they are over, and out of force when they are.
use super::{Entry, Held};
use crate::gate::Gate;
use qila_types::EventKind;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout_at};

/// Between two tries: a tenth of the time to live, within these.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

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
    let pause = (ttl / 10).clamp(PAUSE.0, PAUSE.1);
    // None: there is no value at present.
    let mut end = Some(Instant::now() + ttl);
    let mut next = Instant::now() + ttl - ttl / 10;
    loop {
        let Some(entry) = gate.secrets.get(at) else { return };
        sleep_until(next).await;
        if gate.secrets.is_over(at) {
            return;
        }
        let had = match end {
            Some(end) => timeout_at(end, again(&gate, at, entry)).await,
            None => Ok(again(&gate, at, entry).await),
        };
        let now = Instant::now();
        let why = match had {
            Ok(Ok(())) => {
                end = Some(now + ttl);
                next = now + ttl - ttl / 10;
                continue;
            }
            Ok(Err(why)) => why,
            Err(_) => "it takes too long".to_owned(),
        };
        next = now + pause;
        if let Some(over) = end.filter(|end| *end <= next) {
            sleep_until(over).await;
            gate.secrets.lapse(
                at,
                &format!("its time is over, and it could not be had anew: {why}"),
            );
            end = None;
        }
    }
}

/// Has a value anew, and puts it in force once that is recorded.
async fn again(gate: &Gate, at: usize, entry: &Entry) -> Result<(), String> {
    let keeper = gate.secrets.keeper.as_ref().ok_or("nobody reads it")?;
    let text = keeper.read(at).await?;
    let held = entry.held(&text).map_err(|e| e.to_string())?;
    let credential = || entry.name.clone();
    let created = EventKind::LeaseCreated {
        credential: credential(),
    };
    gate.recorder.durable(created).await.map_err(|e| e.to_string())?;
    let replaced = matches!(gate.secrets.live().held(at), Some(Held::Text(_)));
    gate.secrets.put(at, held)?;
    if replaced {
        gate.recorder.later(EventKind::LeaseRevoked {
            credential: credential(),
        });
    }
    Ok(())
}
