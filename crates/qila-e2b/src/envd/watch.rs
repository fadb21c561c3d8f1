//! `WatchDir`: what happens beneath a directory, as a stream.
use super::Envd;
use super::access::Access;
use super::entry::{info, sound};
use super::filesystem::enter;
use super::start::place;
use super::wire::filesystem::{
    Empty, EventType, FilesystemEvent, WatchDirResponse, WatchEvent, WatchRequest,
};
use crate::connect::{Code, Fault, downstream};
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::Request;
use qila_api::{Change, EntryKind, FileEvent, Kind, Watch};
use tokio::time::{Instant, sleep_until};

/// Begins to watch, as both kinds of watchers do.
pub(super) async fn begin(access: &Access, asked: &WatchRequest) -> Result<Watch, Fault> {
    let path = sound(&asked.path)?;
    let (node, tenant, id) = (access.node(), &access.tenant, &access.id);
    let entry = match node.stat(tenant, id, path).await {
        Ok(entry) => entry,
        Err(e) => return Err(access.fault(e).await),
    };
    if entry.kind != EntryKind::Directory && entry.target_kind != Some(EntryKind::Directory) {
        return Err(Fault::invalid("the path is not a directory"));
    }
    match node.watch(tenant, id, path, asked.recursive).await {
        Ok(watch) => Ok(watch),
        Err(e) => Err(access.fault(e).await),
    }
}

/// An event as the wire has it, with its entry if that is wanted and still there.
pub(super) async fn event(access: &Access, asked: &WatchRequest, event: FileEvent) -> FilesystemEvent {
    let kind = match event.change {
        Change::Create => EventType::Create,
        Change::Write => EventType::Write,
        Change::Remove => EventType::Remove,
        Change::Rename => EventType::Rename,
        Change::Chmod => EventType::Chmod,
    };
    let mut entry = None;
    if asked.include_entry && !matches!(event.change, Change::Remove | Change::Rename) {
        let above = sound(&asked.path).unwrap_or(".");
        let path = format!("{}/{}", above.trim_end_matches('/'), event.name);
        // One that is gone by now has none.
        entry = access
            .node()
            .stat(&access.tenant, &access.id, &path)
            .await
            .ok()
            .map(info);
    }
    FilesystemEvent {
        name: event.name,
        kind: kind.into(),
        entry,
    }
}

pub(super) async fn watch_dir(State(envd): State<Envd>, request: Request<Body>) -> Response {
    let (access, request) = match enter(&envd, request).await {
        Ok(entered) => entered,
        Err(response) => return response,
    };
    downstream(request, |asked: WatchRequest, call, out| async move {
        let _place = place(&access)?;
        let mut watch = begin(&access, &asked).await?;
        let say = |event| WatchDirResponse { event: Some(event) };
        let passing = async {
            if out.send(&say(WatchEvent::Start(Empty {}))).await.is_err() {
                return Ok(());
            }
            let mut sign = Instant::now() + call.keepalive;
            loop {
                let message = tokio::select! {
                    happened = watch.events.recv() => match happened {
                        Some(happened) => WatchEvent::Filesystem(Box::new(event(&access, &asked, happened).await)),
                        None => return Err(over(&access).await),
                    },
                    () = sleep_until(sign) => WatchEvent::Keepalive(Empty {}),
                    () = out.closed() => return Ok(()),
                };
                if out.send(&say(message)).await.is_err() {
                    return Ok(());
                }
                sign = Instant::now() + call.keepalive;
            }
        };
        match call.deadline {
            Some(until) => tokio::time::timeout_at(until, passing).await.unwrap_or_else(|_| {
                Err(Fault::new(
                    Code::DeadlineExceeded,
                    "the time for this call is over",
                ))
            }),
            None => passing.await,
        }
    })
    .await
}

/// Why a watch ended by itself.
pub(super) async fn over(access: &Access) -> Fault {
    match access.node().find(&access.id).await {
        Err(e) if matches!(e.kind, Kind::NotFound | Kind::Gone) => {
            Fault::new(Code::Unavailable, "The sandbox was not found: it has ended")
        }
        _ => Fault::new(
            Code::ResourceExhausted,
            "the watch ended: its directory is gone, or more happened than was taken",
        ),
    }
}
