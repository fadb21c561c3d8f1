//! Keys, of which only hashes are kept, and what is remembered of them for the path of every request.
use crate::store::{Store, now_ms, tenant};
use crate::{Result, StoreError};
use qila_api::{Quota, Tenant};
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Keys that are remembered at once.
const REMEMBERED: usize = 10_000;

/// A key that is to be kept.
#[derive(Clone)]
pub struct NewKey {
    /// Its id, by which it is listed and revoked.
    pub id: String,
    /// For whom it is.
    pub tenant: Tenant,
    /// SHA-256 of the key, which is 256 random bits: there is nothing to guess, so no slow hash is needed.
    pub hash: [u8; 32],
    /// What it is for, in words of whoever made it.
    pub name: String,
    /// Whether it may look after tenants, keys and templates of all.
    pub admin: bool,
    /// When it ends, in Unix milliseconds.
    pub expires_ms: Option<u64>,
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// Its id.
    pub id: String,
    /// For whom it is.
    pub tenant: Tenant,
    /// What it is for.
    pub name: String,
    /// Whether it may look after tenants, keys and templates of all.
    pub admin: bool,
    /// When it was made, in Unix milliseconds.
    pub made_ms: u64,
    /// When it ends, in Unix milliseconds.
    pub expires_ms: Option<u64>,
}

/// What is remembered of keys and tenants, and a connection to see whether it still holds.
pub(crate) struct Known {
    inner: Mutex<Inner>,
}

struct Inner {
    db: Connection,
    generation: i64,
    keys: HashMap<[u8; 32], KeyRow>,
    quotas: Option<HashMap<Tenant, Quota>>,
}

impl Known {
    pub fn new(db: Connection) -> Known {
        let inner = Inner {
            db,
            generation: -1,
            keys: HashMap::new(),
            quotas: None,
        };
        Known {
            inner: Mutex::new(inner),
        }
    }

    /// What holds now: every change of a key or tenant, by whatever process, makes all that is remembered void.
    fn current(&self) -> Result<MutexGuard<'_, Inner>> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let now: i64 = inner
            .db
            .prepare_cached("SELECT n FROM generation WHERE id = 1")?
            .query_row([], |row| row.get(0))?;
        if now != inner.generation {
            inner.keys.clear();
            inner.quotas = None;
            inner.generation = now;
        }
        Ok(inner)
    }
}

impl Store {
    /// Keeps a key.
    ///
    /// # Errors
    /// [`StoreError::NoTenant`] if its tenant is unknown, [`StoreError::Exists`] if its id or hash is there.
    pub async fn add_key(&self, key: NewKey) -> Result<()> {
        let expires = key.expires_ms.map(signed);
        let write = move |db: &Connection| {
            let known: bool = db
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM tenant WHERE tenant = ?)")?
                .query_row([key.tenant.as_str()], |row| row.get(0))?;
            if !known {
                return Err(StoreError::NoTenant(key.tenant.to_string()));
            }
            let mut keep = db.prepare_cached(
                "INSERT INTO key (id, tenant, hash, name, admin, made_ms, expires_ms) VALUES (?, ?, ?, ?, ?, ?, ?)",
            )?;
            let row = params![
                key.id,
                key.tenant.as_str(),
                key.hash,
                key.name,
                key.admin,
                now_ms(),
                expires
            ];
            keep.execute(row)
                .map_err(|error| match error.sqlite_error_code() {
                    Some(ErrorCode::ConstraintViolation) => StoreError::Exists(format!("key `{}`", key.id)),
                    _ => error.into(),
                })?;
            Ok(())
        };
        self.writer.ask(write).await
    }

    /// Keys of a tenant, by id, those included that have ended.
    pub async fn keys(&self, tenant: &Tenant) -> Result<Vec<KeyRow>> {
        let tenant = tenant.clone();
        let read = move |db: &Connection| {
            let mut all = db.prepare_cached(
                "SELECT id, tenant, name, admin, made_ms, expires_ms FROM key WHERE tenant = ? ORDER BY id",
            )?;
            let rows = all.query_map([tenant.as_str()], columns)?;
            rows.map(|row| key(row?)).collect()
        };
        self.reader.ask(read).await
    }

    /// Whether there is any key.
    pub async fn has_keys(&self) -> Result<bool> {
        let read =
            |db: &Connection| Ok(db.query_row("SELECT EXISTS (SELECT 1 FROM key)", [], |row| row.get(0))?);
        self.reader.ask(read).await
    }

    /// Ends a key for good. False: there was none.
    pub async fn revoke_key(&self, id: &str) -> Result<bool> {
        let id = id.to_owned();
        let write = move |db: &Connection| {
            Ok(db
                .prepare_cached("DELETE FROM key WHERE id = ?")?
                .execute([&id])?
                > 0)
        };
        self.writer.ask(write).await
    }

    /// The key with this hash, unless it has ended. It takes microseconds and does not wait for whoever writes.
    pub fn by_hash(&self, hash: &[u8; 32]) -> Result<Option<KeyRow>> {
        let mut inner = self.known.current()?;
        let row = match inner.keys.get(hash) {
            Some(row) => row.clone(),
            None => {
                let found = inner
                    .db
                    .prepare_cached(
                        "SELECT id, tenant, name, admin, made_ms, expires_ms FROM key WHERE hash = ?",
                    )?
                    .query_row([hash], columns)
                    .optional()?;
                let Some(row) = found.map(key).transpose()? else {
                    return Ok(None);
                };
                if inner.keys.len() >= REMEMBERED {
                    inner.keys.clear();
                }
                inner.keys.insert(*hash, row.clone());
                row
            }
        };
        let ended = row.expires_ms.is_some_and(|at| at <= unsigned(now_ms()));
        Ok(if ended { None } else { Some(row) })
    }

    /// What a tenant may have; none: there is no such tenant. It takes microseconds and does not wait for whoever writes.
    pub fn quota_of(&self, tenant: &Tenant) -> Result<Option<Quota>> {
        let mut inner = self.known.current()?;
        let quotas = match inner.quotas.take() {
            Some(quotas) => quotas,
            None => crate::tenant::read(&inner.db)?.into_iter().collect(),
        };
        let found = quotas.get(tenant).copied();
        inner.quotas = Some(quotas);
        Ok(found)
    }
}

type Columns = (String, String, String, bool, i64, Option<i64>);

fn columns(row: &rusqlite::Row<'_>) -> rusqlite::Result<Columns> {
    Ok((
        row.get(0)?,
        row.get(1)?,
        row.get(2)?,
        row.get(3)?,
        row.get(4)?,
        row.get(5)?,
    ))
}

fn key((id, whose, name, admin, made, expires): Columns) -> Result<KeyRow> {
    Ok(KeyRow {
        id,
        tenant: tenant(&whose)?,
        name,
        admin,
        made_ms: unsigned(made),
        expires_ms: expires.map(unsigned),
    })
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

fn unsigned(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or(0)
}
