//! Watchers that keep what happened until they are asked.
use super::access::Access;
use super::filesystem::enter;
use super::watch::{begin, event, over};
use super::wire::filesystem::{
    CreateWatcherResponse, Empty, GetWatcherEventsResponse, WatchRequest, WatcherRequest,
};
use super::{Envd, limit};
use crate::connect::{Code, Fault, unary};
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::Request;
use qila_api::{FileEvent, SandboxId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Watchers of one sandbox, by name.
type Mine = HashMap<String, Arc<Watcher>>;

/// The watchers of all sandboxes.
#[derive(Debug, Default)]
pub(in crate::envd) struct Watchers(Mutex<HashMap<SandboxId, Mine>>);

#[derive(Debug)]
struct Watcher {
    asked: WatchRequest,
    kept: Mutex<Kept>,
    /// Ends the task that listens.
    task: tokio::task::AbortHandle,
}

#[derive(Debug, Default)]
struct Kept {
    events: Vec<FileEvent>,
    /// Nothing more will come, or more came than can be kept.
    over: bool,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watchers {
    fn with<T>(&self, work: impl FnOnce(&mut HashMap<SandboxId, Mine>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn find(&self, access: &Access, name: &str) -> Result<Arc<Watcher>, Fault> {
        let found = self.with(|all| all.get(&access.id)?.get(name).cloned());
        found.ok_or_else(|| Fault::new(Code::NotFound, "there is no such watcher"))
    }

    fn forget(&self, id: &SandboxId, name: &str) -> bool {
        self.with(|all| {
            let Some(mine) = all.get_mut(id) else { return false };
            let had = mine.remove(name).is_some();
            if mine.is_empty() {
                all.remove(id);
            }
            had
        })
    }
}

fn name() -> Result<String, Fault> {
    let mut random = [0; 12];
    getrandom::fill(&mut random)
        .map_err(|_| Fault::new(Code::Internal, "the system has no random numbers"))?;
    Ok(random.iter().map(|b| format!("{b:02x}")).collect())
}

pub(super) async fn create(State(envd): State<Envd>, request: Request<Body>) -> Response {
    let (access, request) = match enter(&envd, request).await {
        Ok(entered) => entered,
        Err(response) => return response,
    };
    unary(request, async |asked: WatchRequest| {
        let full = |n: usize| n >= limit::WATCHERS;
        let many = || {
            let most = limit::WATCHERS;
            Fault::new(
                Code::ResourceExhausted,
                format!("a sandbox has up to {most} watchers: stop one"),
            )
        };
        if envd
            .watchers
            .with(|all| all.get(&access.id).is_some_and(|mine| full(mine.len())))
        {
            return Err(many());
        }
        let watch = begin(&access, &asked).await?;
        let name = name()?;
        let watcher = Arc::new_cyclic(|this: &std::sync::Weak<Watcher>| {
            let (this, envd, access, name) =
                (this.clone(), Arc::downgrade(&envd), access.clone(), name.clone());
            let task = tokio::spawn(async move {
                listen(watch, this).await;
                // With the sandbox gone, nobody can ask any more.
                if access.node().find(&access.id).await.is_err()
                    && let Some(envd) = envd.upgrade()
                {
                    envd.watchers.forget(&access.id, &name);
                }
            });
            Watcher {
                asked,
                kept: Mutex::default(),
                task: task.abort_handle(),
            }
        });
        envd.watchers.with(|all| {
            let mine = all.entry(access.id.clone()).or_default();
            if full(mine.len()) {
                return Err(many());
            }
            mine.insert(name.clone(), watcher);
            Ok(CreateWatcherResponse { watcher_id: name })
        })
    })
    .await
}

/// Keeps what happens until it is asked for.
async fn listen(mut watch: qila_api::Watch, watcher: std::sync::Weak<Watcher>) {
    loop {
        let happened = watch.events.recv().await;
        let Some(watcher) = watcher.upgrade() else { return };
        let mut kept = watcher.kept.lock().unwrap_or_else(PoisonError::into_inner);
        match happened {
            Some(event) if kept.events.len() < limit::EVENTS => kept.events.push(event),
            _ => {
                kept.over = true;
                return;
            }
        }
    }
}

pub(super) async fn events(State(envd): State<Envd>, request: Request<Body>) -> Response {
    let (access, request) = match enter(&envd, request).await {
        Ok(entered) => entered,
        Err(response) => return response,
    };
    unary(request, async |asked: WatcherRequest| {
        let watcher = envd.watchers.find(&access, &asked.watcher_id)?;
        let (kept, ended) = {
            let mut kept = watcher.kept.lock().unwrap_or_else(PoisonError::into_inner);
            (std::mem::take(&mut kept.events), kept.over)
        };
        // What was kept is told first.
        if kept.is_empty() && ended {
            return Err(over(&access).await);
        }
        let mut events = Vec::with_capacity(kept.len());
        for happened in kept {
            events.push(event(&access, &watcher.asked, happened).await);
        }
        Ok(GetWatcherEventsResponse { events })
    })
    .await
}

pub(super) async fn remove(State(envd): State<Envd>, request: Request<Body>) -> Response {
    let (access, request) = match enter(&envd, request).await {
        Ok(entered) => entered,
        Err(response) => return response,
    };
    unary(request, async |asked: WatcherRequest| {
        match envd.watchers.forget(&access.id, &asked.watcher_id) {
            true => Ok(Empty {}),
            false => Err(Fault::new(Code::NotFound, "there is no such watcher")),
        }
    })
    .await
}
