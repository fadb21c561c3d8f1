//! The tables, and how an older file comes to have them.
use crate::{Result, StoreError};
use rusqlite::{Connection, TransactionBehavior};
use std::time::Duration;

/// `Qila` in ASCII: a database of another program is not taken for ours.
const APPLICATION: i64 = 0x5169_6c61;

/// How long one waits for another process that writes.
pub(crate) const BUSY: Duration = Duration::from_secs(5);

/// Each leads from the schema of its index to the next one. One that was released is never changed.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE document (
        kind INTEGER NOT NULL, id TEXT NOT NULL, tenant TEXT NOT NULL, body BLOB NOT NULL,
        PRIMARY KEY (kind, id)
    ) WITHOUT ROWID;
    CREATE INDEX document_tenant ON document (tenant);

    CREATE TABLE event (seq INTEGER PRIMARY KEY, tenant TEXT NOT NULL, body BLOB NOT NULL);
    CREATE INDEX event_tenant ON event (tenant, seq);

    CREATE TABLE claim (
        tenant TEXT NOT NULL, key TEXT NOT NULL, fingerprint BLOB NOT NULL, owner TEXT, body BLOB,
        made_ms INTEGER NOT NULL, PRIMARY KEY (tenant, key)
    ) WITHOUT ROWID;
    CREATE INDEX claim_made ON claim (made_ms);

    CREATE TABLE tenant (tenant TEXT PRIMARY KEY, quota BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE key (
        id TEXT PRIMARY KEY, tenant TEXT NOT NULL REFERENCES tenant (tenant) ON DELETE CASCADE,
        hash BLOB NOT NULL UNIQUE, name TEXT NOT NULL, admin INTEGER NOT NULL,
        made_ms INTEGER NOT NULL, expires_ms INTEGER
    ) WITHOUT ROWID;
    CREATE INDEX key_tenant ON key (tenant);

    CREATE TABLE probe (id INTEGER PRIMARY KEY, n INTEGER NOT NULL);
    INSERT INTO probe VALUES (1, 0);

    CREATE TABLE generation (id INTEGER PRIMARY KEY, n INTEGER NOT NULL);
    INSERT INTO generation VALUES (1, 0);
    CREATE TRIGGER key_made AFTER INSERT ON key BEGIN UPDATE generation SET n = n + 1; END;
    CREATE TRIGGER key_changed AFTER UPDATE ON key BEGIN UPDATE generation SET n = n + 1; END;
    CREATE TRIGGER key_gone AFTER DELETE ON key BEGIN UPDATE generation SET n = n + 1; END;
    CREATE TRIGGER tenant_made AFTER INSERT ON tenant BEGIN UPDATE generation SET n = n + 1; END;
    CREATE TRIGGER tenant_changed AFTER UPDATE ON tenant BEGIN UPDATE generation SET n = n + 1; END;
    CREATE TRIGGER tenant_gone AFTER DELETE ON tenant BEGIN UPDATE generation SET n = n + 1; END;
"];

/// What a connection is told, whatever it is for.
pub(crate) fn prepare(db: &Connection) -> Result<()> {
    db.busy_timeout(BUSY)?;
    db.set_prepared_statement_cache_capacity(64);
    // A tenant that is removed takes its keys along only while this is on.
    db.pragma_update(None, "foreign_keys", true)?;
    db.pragma_update(None, "synchronous", "NORMAL")?;
    db.pragma_update(None, "trusted_schema", false)?;
    Ok(())
}

/// Brings the file to the newest schema.
pub(crate) fn migrate(db: &mut Connection) -> Result<()> {
    let known = MIGRATIONS.len() as i64;
    let mode: String = db.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(StoreError::Corrupt(format!(
            "its journal cannot be a write-ahead log, but is `{mode}`"
        )));
    }
    // What a burst made of the log is given back.
    db.pragma_update(None, "journal_size_limit", 16 << 20)?;
    let whole = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: i64 = whole.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let application: i64 = whole.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 = whole.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let ours = application == APPLICATION || (application == 0 && found == 0 && tables == 0);
    if !ours || found < 0 {
        return Err(StoreError::Corrupt(
            "another program made this database".to_owned(),
        ));
    }
    if found > known {
        return Err(StoreError::TooNew { found, known });
    }
    for step in MIGRATIONS.iter().skip(found as usize) {
        whole.execute_batch(step)?;
    }
    whole.pragma_update(None, "user_version", known)?;
    whole.pragma_update(None, "application_id", APPLICATION)?;
    whole.commit()?;
    Ok(())
}
