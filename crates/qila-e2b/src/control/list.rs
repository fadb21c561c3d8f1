//! Lists of sandboxes.
use super::Plane;
use super::caller::Caller;
use super::error::Refusal;
use super::query::Query;
use super::view;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use qila_api::{Cursor, Filter, Page, Sandbox, State as Is, Tenant};
use serde_json::Value;

/// Most of one page.
const PAGE: u64 = 100;
/// Most sandboxes that are looked through for an order that is not the node's.
const ALL: usize = 10_000;
/// Header that says where a list goes on.
pub(super) const NEXT: &str = "x-next-token";
/// What begins a token of a list from the oldest on.
const OLDEST: &str = "asc.";

/// Those that run, as a whole.
pub(super) async fn running(
    State(plane): State<Plane>,
    caller: Caller,
    query: Query,
) -> Result<Json<Vec<Value>>, Refusal> {
    let filter = Filter {
        states: vec![Is::Running],
        metadata: query.metadata(),
        template: None,
    };
    let all = everything(&plane, &caller.tenant, &filter).await?;
    Ok(Json(all.iter().map(view::listed).collect()))
}

async fn everything(plane: &Plane, tenant: &Tenant, filter: &Filter) -> Result<Vec<Sandbox>, Refusal> {
    let mut all: Vec<Sandbox> = Vec::new();
    let mut after = None;
    loop {
        let page = plane.node.list(tenant, filter, PAGE as usize, after).await?;
        let none = page.items.is_empty();
        all.extend(page.items);
        after = page.next;
        if after.is_none() || none {
            return Ok(all);
        }
        if all.len() >= ALL {
            return Err(Refusal::bad(format!(
                "more than {ALL} sandboxes: ask for `/v2/sandboxes` page by page"
            )));
        }
    }
}

fn states(query: &Query) -> Result<Vec<Is>, Refusal> {
    let state = |text: &str| match text {
        "running" => Ok(Is::Running),
        "paused" => Ok(Is::Paused),
        _ => Err(Refusal::bad("`state` is `running` or `paused`")),
    };
    query.all("state").into_iter().map(state).collect()
}

/// Those that run and those that are paused, page by page.
pub(super) async fn all(
    State(plane): State<Plane>,
    caller: Caller,
    query: Query,
) -> Result<Response, Refusal> {
    let filter = Filter {
        states: states(&query)?,
        metadata: query.metadata(),
        template: query.get("template").map(str::to_owned),
    };
    let limit = usize::try_from(query.number("limit", 1, PAGE, PAGE)?).unwrap_or(1);
    let since = query.get("startedAfter").map(|text| {
        let ms = crate::time::parse(text).map(|ms| u64::try_from(ms).unwrap_or(0));
        ms.ok_or_else(|| Refusal::bad("`startedAfter` is a moment as RFC 3339 writes it"))
    });
    let since = since.transpose()?.unwrap_or(0);
    let token = query.get("nextToken");
    let mut page = match query.get("order") {
        None | Some("desc") => {
            let after = token.map(|t| Cursor(t.to_owned()));
            plane.node.list(&caller.tenant, &filter, limit, after).await?
        }
        Some("asc") => {
            let all = everything(&plane, &caller.tenant, &filter).await?;
            oldest_first(all, since, limit, token)?
        }
        Some(_) => return Err(Refusal::bad("`order` is `asc` or `desc`")),
    };
    // They come newest first: after the first that is too old, all are.
    if page.items.iter().any(|s| s.started_ms <= since) && since > 0 {
        page.items.retain(|s| s.started_ms > since);
        page.next = None;
    }
    let mut response = Json(page.items.iter().map(view::listed).collect::<Vec<_>>()).into_response();
    goes_on(&mut response, page.next)?;
    Ok(response)
}

/// Says where a list goes on.
pub(super) fn goes_on(response: &mut Response, next: Option<Cursor>) -> Result<(), Refusal> {
    let Some(next) = next else { return Ok(()) };
    let bad = |_| {
        Refusal::new(
            http::StatusCode::INTERNAL_SERVER_ERROR,
            "the list cannot be gone on with",
        )
    };
    response
        .headers_mut()
        .insert(NEXT, HeaderValue::from_str(&next.0).map_err(bad)?);
    Ok(())
}

/// A page of a list from the oldest on. Its token names the last one of the page before.
fn oldest_first(
    mut all: Vec<Sandbox>,
    since: u64,
    limit: usize,
    token: Option<&str>,
) -> Result<Page<Sandbox>, Refusal> {
    let bad = || Refusal::bad("`nextToken` is not of this list");
    let after = match token {
        None => None,
        Some(token) => {
            let (ms, id) = token
                .strip_prefix(OLDEST)
                .and_then(|t| t.split_once('.'))
                .ok_or_else(bad)?;
            Some((ms.parse::<u64>().map_err(|_| bad())?, id.to_owned()))
        }
    };
    let key = |s: &Sandbox| (s.started_ms, s.id.as_str().to_owned());
    all.retain(|s| s.started_ms > since || since == 0);
    all.sort_by_key(key);
    if let Some(after) = after {
        all.retain(|s| key(s) > after);
    }
    let more = all.len() > limit;
    all.truncate(limit);
    let last = all
        .last()
        .filter(|_| more)
        .map(|s| Cursor(format!("{OLDEST}{}.{}", s.started_ms, s.id)));
    Ok(Page {
        items: all,
        next: last,
    })
}
