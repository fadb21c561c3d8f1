//! Events, in the order in which they happened.
use crate::store::{Store, bounded};
use crate::{Result, StoreError};
use qila_api::{Event, Tenant};
use rusqlite::{Connection, ErrorCode, params};

/// Events that are kept; older ones are forgotten.
pub const EVENTS_KEPT: u64 = 200_000;

/// Every so many events, the old ones are forgotten.
const SWEEP: u64 = 512;
/// Events that one question answers at most.
const MOST: usize = 10_000;

impl Store {
    /// Keeps events, all of them or none. Each has its own number, which none before it had.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if there is an event of one of these numbers.
    pub async fn tell(&self, events: Vec<(Tenant, Event)>) -> Result<()> {
        let rows: Vec<_> = events.iter().map(row).collect::<Result<_>>()?;
        let sweep = events.iter().any(|(_, event)| event.seq % SWEEP == 0);
        let write = move |db: &Connection| {
            let mut keep = db.prepare_cached("INSERT INTO event (seq, tenant, body) VALUES (?, ?, ?)")?;
            for (seq, tenant, body) in &rows {
                keep.execute(params![seq, tenant, body]).map_err(|error| {
                    match error.sqlite_error_code() {
                        Some(ErrorCode::ConstraintViolation) => StoreError::Exists(format!("event {seq}")),
                        _ => error.into(),
                    }
                })?;
            }
            if sweep {
                let kept = i64::try_from(EVENTS_KEPT).unwrap_or(i64::MAX);
                db.prepare_cached("DELETE FROM event WHERE seq <= (SELECT max(seq) FROM event) - ?")?
                    .execute([kept])?;
            }
            Ok(())
        };
        self.writer.ask(write).await
    }

    /// The tenant's events after this number, oldest first, at most `limit` and 10,000.
    pub async fn events(&self, tenant: &Tenant, after: u64, limit: usize) -> Result<Vec<Event>> {
        let (tenant, after) = (tenant.clone(), i64::try_from(after).unwrap_or(i64::MAX));
        let limit = i64::try_from(limit.min(MOST)).unwrap_or(0);
        let read = move |db: &Connection| {
            let mut some = db
                .prepare_cached("SELECT body FROM event WHERE tenant = ? AND seq > ? ORDER BY seq LIMIT ?")?;
            let rows = some.query_map(params![tenant.as_str(), after, limit], |row| {
                row.get::<_, Vec<u8>>(0)
            })?;
            rows.map(|body| {
                serde_json::from_slice(&body?).map_err(|e| StoreError::Corrupt(format!("an event: {e}")))
            })
            .collect()
        };
        self.reader.ask(read).await
    }

    /// Number of the newest event; 0 if there is none.
    pub async fn last_event(&self) -> Result<u64> {
        let read = |db: &Connection| {
            let last: i64 = db.query_row("SELECT coalesce(max(seq), 0) FROM event", [], |row| row.get(0))?;
            Ok(u64::try_from(last).unwrap_or(0))
        };
        self.reader.ask(read).await
    }
}

fn row((tenant, event): &(Tenant, Event)) -> Result<(i64, String, Vec<u8>)> {
    let body = serde_json::to_vec(event).map_err(|e| StoreError::Corrupt(format!("an event: {e}")))?;
    bounded(&body)?;
    let seq = i64::try_from(event.seq).map_err(|_| StoreError::Corrupt(format!("event {}", event.seq)))?;
    Ok((seq, tenant.as_str().to_owned(), body))
}
