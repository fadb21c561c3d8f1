//! What happens to sandboxes, for whoever wants to be told.
use crate::clock::now_ms;
use crate::core::Core;
use qila_api::{Event, Result, SandboxId, Tenant};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{broadcast, mpsc};

/// Events that are kept for those who come late.
const KEPT: usize = 10_000;
/// Events that wait for one listener; one that is further behind comes again and asks from where it was.
const QUEUE: usize = 1024;

/// All events, newest last.
pub(crate) struct Events {
    kept: Mutex<Kept>,
    news: broadcast::Sender<(Tenant, Event)>,
}

struct Kept {
    next: u64,
    /// Numbers of those that are being written down.
    open: BTreeSet<u64>,
    /// Those that are written down, and wait for one with a smaller number: whoever has heard of a number never hears of a smaller one.
    waiting: BTreeMap<u64, (Tenant, Event)>,
    events: VecDeque<(Tenant, Event)>,
}

impl Kept {
    /// The number up to which everything has been told.
    fn told(&self) -> u64 {
        let first = self.open.first().copied().unwrap_or(self.next);
        first.saturating_sub(1)
    }
}

impl Events {
    /// Numbers begin after this one.
    pub(crate) fn new(last: u64) -> Events {
        Events {
            kept: Mutex::new(Kept {
                next: last + 1,
                open: BTreeSet::new(),
                waiting: BTreeMap::new(),
                events: VecDeque::new(),
            }),
            news: broadcast::channel(QUEUE).0,
        }
    }

    /// Something happens: what is told of it, and its number. [`Events::close`] must follow, or nothing is told any more.
    pub(crate) fn make(&self, of: &SandboxId, kind: &str, fields: &[(&str, &str)]) -> Event {
        let fields: BTreeMap<String, String> =
            fields.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let seq = kept.next;
        kept.next += 1;
        kept.open.insert(seq);
        Event {
            seq,
            time_ms: now_ms(),
            sandbox: of.clone(),
            kind: kind.to_owned(),
            fields,
        }
    }

    /// It has happened, and is written down, or could not be: then nobody is told. Told in the order of their numbers.
    pub(crate) fn close(&self, tenant: &Tenant, event: Event, written: bool) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.open.remove(&event.seq);
        if written {
            kept.waiting.insert(event.seq, (tenant.clone(), event));
        }
        let told = kept.told();
        while kept
            .waiting
            .first_key_value()
            .is_some_and(|(seq, _)| *seq <= told)
        {
            let Some((_, next)) = kept.waiting.pop_first() else {
                break;
            };
            kept.events.push_back(next.clone());
            if kept.events.len() > KEPT {
                kept.events.pop_front();
            }
            let _ = self.news.send(next); // nobody listens: nobody is told
        }
    }

    /// What was told of one sandbox, newest last.
    pub(crate) fn of(&self, sandbox: &SandboxId, limit: usize) -> Vec<Event> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<Event> = kept
            .events
            .iter()
            .rev()
            .map(|(_, e)| e)
            .filter(|e| e.sandbox == *sandbox)
            .take(limit)
            .cloned()
            .collect();
        found.reverse();
        found
    }

    /// What happens from now on.
    fn subscribe(&self) -> (u64, broadcast::Receiver<(Tenant, Event)>) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        (kept.told(), self.news.subscribe())
    }
}

/// Events read from the store at once.
const BATCH: usize = 500;

/// Everything of a tenant after a number, and then what happens. One that lags is let go: the numbers tell it where it was.
pub(crate) async fn listen(
    core: &Arc<Core>,
    tenant: &Tenant,
    after: Option<u64>,
) -> Result<mpsc::Receiver<Event>> {
    let (give, take) = mpsc::channel(64);
    let (last, mut news) = core.events.subscribe();
    let (core, tenant) = (core.clone(), tenant.clone());
    tokio::spawn(async move {
        let mut at = after.unwrap_or(last);
        while at < last {
            let Ok(old) = core.store.events(&tenant, at, BATCH).await else {
                return;
            };
            let Some(end) = old.last().map(|e| e.seq) else {
                break;
            };
            at = end;
            // What is written down already, and not told yet, is news.
            for event in old.into_iter().filter(|e| e.seq <= last) {
                if give.send(event).await.is_err() {
                    return;
                }
            }
        }
        let at = at.min(last).max(after.unwrap_or(0));
        loop {
            let next = tokio::select! {
                next = news.recv() => next,
                () = give.closed() => return,
            };
            let Ok((whose, event)) = next else { return };
            if whose == tenant && event.seq > at && give.send(event).await.is_err() {
                return;
            }
        }
    });
    Ok(take)
}
