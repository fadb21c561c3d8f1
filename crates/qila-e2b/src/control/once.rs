//! Requests that are repeated under one `Idempotency-Key`: the sandbox of the first is the answer to all.
use super::Plane;
use super::error::Refusal;
use http::StatusCode;
use qila_api::{Create, Kind, Sandbox, SandboxId, Tenant};
use sha2::{Digest, Sha256};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a key is remembered.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);
/// Keys that are remembered: beyond, the oldest is forgotten.
const KEYS: usize = 16_384;

type Key = (Tenant, String);

/// What the first request asked for, as a digest, and what came of it.
type First = Arc<tokio::sync::Mutex<Option<([u8; 32], SandboxId)>>>;

/// What is remembered.
#[derive(Default)]
pub(super) struct Once(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    known: HashMap<Key, First>,
    /// The oldest first.
    order: VecDeque<(Instant, Key)>,
}

/// Two wishes are written alike where they are the same: everything in one has an order.
fn digest(wish: &Create) -> [u8; 32] {
    Sha256::digest(format!("{wish:?}")).into()
}

impl Once {
    fn first(&self, key: &Key) -> First {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Kept { known, order } = &mut *kept;
        let old = |(at, _): &(Instant, Key)| at.elapsed() > REMEMBERED;
        while order.len() >= KEYS || order.front().is_some_and(old) {
            let Some((_, oldest)) = order.pop_front() else {
                break;
            };
            known.remove(&oldest);
        }
        if let Some(first) = known.get(key) {
            return first.clone();
        }
        order.push_back((Instant::now(), key.clone()));
        known.entry(key.clone()).or_default().clone()
    }
}

/// Makes a sandbox, or answers the one that an equal request with the same key made.
pub(super) async fn create(plane: &Plane, tenant: &Tenant, wish: Create) -> Result<Sandbox, Refusal> {
    let Some(key) = wish.idempotency_key.clone() else {
        return Ok(plane.node.create(tenant, wish).await?);
    };
    let first = plane.once.first(&(tenant.clone(), key));
    let asked = digest(&wish);
    // Whoever comes while it is being made waits for it.
    let mut first = first.lock_owned().await;
    match &*first {
        Some((before, _)) if *before != asked => Err(Refusal::conflict(
            "the `Idempotency-Key` was used for another request",
        )),
        Some((_, made)) => plane.node.get(tenant, made).await.map_err(|e| match e.kind {
            Kind::NotFound | Kind::Gone => {
                Refusal::conflict(format!("sandbox {made}, which this request made, has ended"))
            }
            _ => e.into(),
        }),
        None => {
            let (plane, tenant) = (plane.clone(), tenant.clone());
            // A client that gives up and asks again finds what became of it.
            let making = tokio::spawn(async move {
                let sandbox = plane.node.create(&tenant, wish).await?;
                *first = Some((asked, sandbox.id.clone()));
                Ok(sandbox)
            });
            let failed = |_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "making a sandbox broke off");
            making.await.map_err(failed)?
        }
    }
}
