//! Values that are short-lived by the policy's word or their provider's: had anew before they are over, and out of force when they
//! are.
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
    if gate.secrets.keeper.is_some() {
        let listening = gate.clone();
        tokio::task::spawn_local(async move {
            if let Some(keeper) = listening.secrets.keeper() {
                keeper.listen().await;
            }
        });
    }
    for (at, (since, life)) in &gate.secrets.ends {
        tokio::task::spawn_local(keep(gate.clone(), *at, Instant::from_std(*since), *life));
    }
}

/// When a value is to be had anew of which so much is left.
fn early(now: Instant, life: Duration) -> Instant {
    now + life - life / 10
}

async fn keep(gate: Rc<Gate>, at: usize, since: Instant, mut life: Duration) {
    // None: there is no value at present.
    let mut end = Some(since + life);
    let mut next = early(since, life);
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
            Ok(Ok(None)) => return, // this one lasts
            Ok(Ok(Some(longer))) => {
                life = longer;
                (end, next) = (Some(now + life), early(now, life));
                continue;
            }
            Ok(Err(why)) => why,
            Err(_) => "it takes too long".to_owned(),
        };
        next = now + (life / 10).clamp(PAUSE.0, PAUSE.1);
        if let Some(over) = end.filter(|end| *end <= next) {
            sleep_until(over).await;
            let what = format!("its time is over, and it could not be had anew: {why}");
            gate.secrets.lapse(at, &what);
            end = None;
        }
    }
}

/// Has a value anew, and puts it in force once that is recorded. Answers how long it lasts.
async fn again(gate: &Rc<Gate>, at: usize, entry: &Entry) -> Result<Option<Duration>, String> {
    let keeper = gate.secrets.keeper().ok_or("nobody reads it")?;
    let had = keeper.read(at).await?;
    let unused = |why: String| {
        // What nobody will use is taken back, too.
        if let Some(lease) = had.lease {
            tokio::task::spawn_local(retire(gate.clone(), lease, None));
        }
        why
    };
    let held = entry.held(&had.text).map_err(|e| unused(e.to_string()))?;
    let credential = || entry.name.clone();
    let created = EventKind::LeaseCreated {
        credential: credential(),
    };
    let recorded = gate.recorder.durable(created).await;
    recorded.map_err(|e| unused(e.to_string()))?;
    let replaced = !matches!(gate.secrets.live().held(at), Some(Held::Gone(_)) | None);
    let before = gate.secrets.put(at, held, had.lease).map_err(|why| {
        gate.recorder.later(EventKind::LeaseRevoked {
            credential: credential(),
        });
        unused(why)
    })?;
    match before {
        Some(lease) => drop(tokio::task::spawn_local(retire(
            gate.clone(),
            lease,
            Some(credential()),
        ))),
        None if replaced => gate.recorder.later(EventKind::LeaseRevoked {
            credential: credential(),
        }),
        None => {}
    }
    Ok(entry.life(had.life))
}

/// Takes a lease back, and records that of one that the log has.
async fn retire(gate: Rc<Gate>, lease: u64, credential: Option<String>) {
    let Some(keeper) = gate.secrets.keeper() else {
        return;
    };
    let done = keeper.retire(lease).await;
    if let Some(credential) = credential {
        gate.recorder.later(match done {
            Ok(()) => EventKind::LeaseRevoked { credential },
            Err(reason) => EventKind::LeaseUnrevoked { credential, reason },
        });
    }
}
