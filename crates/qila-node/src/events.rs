//! What happens to sandboxes, for whoever wants to be told.
use crate::clock::now_ms;
use qila_api::{Event, SandboxId, Tenant};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
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
    events: VecDeque<(Tenant, Event)>,
}

impl Events {
    /// Numbers begin after this one.
    pub(crate) fn new(last: u64) -> Events {
        Events {
            kept: Mutex::new(Kept {
                next: last + 1,
                events: VecDeque::new(),
            }),
            news: broadcast::channel(QUEUE).0,
        }
    }

    /// Something happened.
    pub(crate) fn tell(&self, tenant: &Tenant, of: &SandboxId, kind: &str, fields: &[(&str, &str)]) {
        let fields: BTreeMap<String, String> = fields.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let event = Event {
            seq: kept.next,
            time_ms: now_ms(),
            sandbox: of.clone(),
            kind: kind.to_owned(),
            fields,
        };
        kept.next += 1;
        kept.events.push_back((tenant.clone(), event.clone()));
        if kept.events.len() > KEPT {
            kept.events.pop_front();
        }
        let _ = self.news.send((tenant.clone(), event)); // nobody listens: nobody is told
    }

    /// What was told of one sandbox, newest last.
    pub(crate) fn of(&self, sandbox: &SandboxId, limit: usize) -> Vec<Event> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<Event> = kept.events.iter().rev().map(|(_, e)| e).filter(|e| e.sandbox == *sandbox).take(limit).cloned().collect();
        found.reverse();
        found
    }

    /// Everything of a tenant after a number, and then what happens.
    pub(crate) fn listen(&self, tenant: &Tenant, after: Option<u64>) -> mpsc::Receiver<Event> {
        let (give, take) = mpsc::channel(64);
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut news = self.news.subscribe();
        let old: Vec<Event> = match after {
            Some(after) => kept.events.iter().filter(|(t, e)| t == tenant && e.seq > after).map(|(_, e)| e.clone()).collect(),
            None => Vec::new(),
        };
        drop(kept);
        let tenant = tenant.clone();
        tokio::spawn(async move {
            for event in old {
                if give.send(event).await.is_err() {
                    return;
                }
            }
            // One that lags is let go: the numbers tell it where it was.
            while let Ok((whose, event)) = news.recv().await {
                if whose == tenant && give.send(event).await.is_err() {
                    return;
                }
            }
        });
        take
    }
}
