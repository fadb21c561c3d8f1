//! Requests that may be repeated: the first of a key is carried out, the others get its answer.
use crate::store::{Store, bounded, now_ms};
use crate::{Result, owner};
use qila_api::Tenant;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use std::time::Duration;

/// How long an answer is kept.
pub const CLAIM_KEPT: Duration = Duration::from_secs(24 * 3600);

/// What a claim found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// It is the first: carry it out, then [`Store::finish`] it.
    New,
    /// The first is under way.
    Pending,
    /// What the first was answered.
    Done(Vec<u8>),
    /// The key was used for another request.
    Conflict,
}

impl Store {
    /// Claims a key for a request with this fingerprint.
    pub async fn claim(&self, tenant: &Tenant, key: &str, fingerprint: [u8; 32]) -> Result<Claim> {
        let (tenant, key) = (tenant.clone(), key.to_owned());
        bounded(key.as_bytes())?;
        let me = owner::this();
        let write = move |db: &Connection| {
            let now = now_ms();
            let kept = i64::try_from(CLAIM_KEPT.as_millis()).unwrap_or(i64::MAX);
            db.prepare_cached("DELETE FROM claim WHERE made_ms <= ?")?
                .execute([now.saturating_sub(kept)])?;
            let mut there =
                db.prepare_cached("SELECT fingerprint, body FROM claim WHERE tenant = ? AND key = ?")?;
            let found: Option<(Vec<u8>, Option<Vec<u8>>)> = there
                .query_row(params![tenant.as_str(), key], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
                .optional()?;
            match found {
                Some((print, _)) if print != fingerprint => Ok(Claim::Conflict),
                Some((_, Some(body))) => Ok(Claim::Done(body)),
                Some((_, None)) => Ok(Claim::Pending),
                None => {
                    db.prepare_cached(
                        "INSERT INTO claim (tenant, key, fingerprint, owner, made_ms) VALUES (?, ?, ?, ?, ?)",
                    )?
                    .execute(params![tenant.as_str(), key, fingerprint, me, now])?;
                    Ok(Claim::New)
                }
            }
        };
        self.writer.ask(write).await
    }

    /// Says how a claimed request ended: with an answer that is kept for whoever repeats it, or in a way that lets them try again.
    pub async fn finish(&self, tenant: &Tenant, key: &str, answer: Option<Vec<u8>>) -> Result<()> {
        if let Some(body) = &answer {
            bounded(body)?;
        }
        let (tenant, key) = (tenant.clone(), key.to_owned());
        let write = move |db: &Connection| {
            match &answer {
                Some(body) => db
                    .prepare_cached("UPDATE claim SET body = ?, owner = NULL WHERE tenant = ? AND key = ? AND body IS NULL")?
                    .execute(params![body, tenant.as_str(), key])?,
                None => db
                    .prepare_cached("DELETE FROM claim WHERE tenant = ? AND key = ? AND body IS NULL")?
                    .execute(params![tenant.as_str(), key])?,
            };
            Ok(())
        };
        self.writer.ask(write).await
    }
}

/// Forgets what processes that are gone had claimed and not finished.
pub(crate) fn release_dead(db: &mut Connection) -> Result<()> {
    let owners: Vec<String> = {
        let mut all =
            db.prepare("SELECT DISTINCT owner FROM claim WHERE body IS NULL AND owner IS NOT NULL")?;
        let rows = all.query_map([], |row| row.get(0))?;
        rows.collect::<rusqlite::Result<_>>()?
    };
    let dead: Vec<_> = owners.into_iter().filter(|owner| !owner::alive(owner)).collect();
    if dead.is_empty() {
        return Ok(());
    }
    let whole = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for owner in dead {
        whole.execute("DELETE FROM claim WHERE body IS NULL AND owner = ?", [owner])?;
    }
    whole.commit()?;
    Ok(())
}
