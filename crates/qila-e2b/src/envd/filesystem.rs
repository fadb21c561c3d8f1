//! `filesystem.Filesystem`: what asks for one thing and is answered once.
use super::access::{Access, admit};
use super::entry::{info, sound};
use super::wire::filesystem::{EntryResponse, ListDirRequest, ListDirResponse, MoveRequest, PathRequest};
use super::wire::process::Empty;
use super::{Envd, limit};
use crate::connect::{Code, Fault, unary};
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::Request;
use qila_api::{EntryKind, Kind};

/// Lets a request in and takes it apart.
pub(super) async fn enter(envd: &Envd, request: Request<Body>) -> Result<(Access, Request<Body>), Response> {
    let (parts, body) = request.into_parts();
    match admit(envd, &parts, None).await {
        Ok(access) => Ok((access, Request::from_parts(parts, body))),
        Err(response) => Err(*response),
    }
}

fn reply(entry: qila_api::Entry) -> EntryResponse {
    EntryResponse {
        entry: Some(info(entry)),
    }
}

pub(super) async fn stat(State(envd): State<Envd>, request: Request<Body>) -> Response {
    let (access, request) = match enter(&envd, request).await {
        Ok(entered) => entered,
        Err(response) => return response,
    };
    unary(request, async |asked: PathRequest| {
        let entry = access
            .node()
            .stat(&access.tenant, &access.id, sound(&asked.path)?)
            .await;
        match entry {
            Ok(entry) => Ok(reply(entry)),
            Err(e) => Err(access.fault(e).await),
        }
    })
    .await
}

pub(super) async fn make_dir(State(envd): State<Envd>, request: Request<Body>) -> Response {
    let (access, request) = match enter(&envd, request).await {
        Ok(entered) => entered,
        Err(response) => return response,
    };
    unary(request, async |asked: PathRequest| {
        let path = sound(&asked.path)?;
        let error = match access.node().make_dir(&access.tenant, &access.id, path).await {
            Ok(entry) => return Ok(reply(entry)),
            Err(e) => access.explain(e).await,
        };
        if error.kind != Kind::Conflict {
            return Err(error.into());
        }
        // Something is there: the SDKs take a directory for an answer of its own, and a file for a mistake.
        match access.node().stat(&access.tenant, &access.id, path).await {
            Ok(entry) if is_directory(&entry) => Err(Fault::new(Code::AlreadyExists, error.message)),
            Ok(_) => Err(Fault::invalid("the path exists and is not a directory")),
            Err(_) => Err(error.into()),
        }
    })
    .await
}

fn is_directory(entry: &qila_api::Entry) -> bool {
    [Some(entry.kind), entry.target_kind].contains(&Some(EntryKind::Directory))
}

pub(super) async fn rename(State(envd): State<Envd>, request: Request<Body>) -> Response {
    let (access, request) = match enter(&envd, request).await {
        Ok(entered) => entered,
        Err(response) => return response,
    };
    unary(request, async |asked: MoveRequest| {
        let (from, to) = (sound(&asked.source)?, sound(&asked.destination)?);
        let (node, tenant, id) = (access.node(), &access.tenant, &access.id);
        let error = match node.rename(tenant, id, from, to).await {
            Ok(entry) => return Ok(reply(entry)),
            Err(e) => access.explain(e).await,
        };
        // E2B makes the directories above the new place.
        let above = to
            .rsplit_once('/')
            .map(|(above, _)| above)
            .filter(|a| !a.is_empty());
        let Some(above) = above.filter(|_| error.kind == Kind::NotFound) else {
            return Err(error.into());
        };
        node.stat(tenant, id, from).await?;
        match node.make_dir(tenant, id, above).await {
            Ok(_) => {}
            Err(e) if e.kind == Kind::Conflict => return Err(error.into()),
            Err(e) => return Err(e.into()),
        }
        Ok(reply(node.rename(tenant, id, from, to).await?))
    })
    .await
}

pub(super) async fn list_dir(State(envd): State<Envd>, request: Request<Body>) -> Response {
    let (access, request) = match enter(&envd, request).await {
        Ok(entered) => entered,
        Err(response) => return response,
    };
    unary(request, async |asked: ListDirRequest| {
        let path = sound(&asked.path)?;
        if asked.depth > limit::DEPTH {
            return Err(Fault::invalid(format!(
                "a listing is at most {} levels deep",
                limit::DEPTH
            )));
        }
        let entries = access
            .node()
            .read_dir(&access.tenant, &access.id, path, asked.depth.max(1))
            .await;
        match entries {
            Ok(entries) => Ok(ListDirResponse {
                entries: entries.into_iter().map(info).collect(),
            }),
            Err(e) => Err(access.fault(e).await),
        }
    })
    .await
}

pub(super) async fn remove(State(envd): State<Envd>, request: Request<Body>) -> Response {
    let (access, request) = match enter(&envd, request).await {
        Ok(entered) => entered,
        Err(response) => return response,
    };
    unary(request, async |asked: PathRequest| {
        match access
            .node()
            .remove(&access.tenant, &access.id, sound(&asked.path)?)
            .await
        {
            Ok(()) => Ok(Empty {}),
            Err(e) => Err(access.fault(e).await),
        }
    })
    .await
}
