//! The store: opening it, and the way to its threads.
use crate::key::Known;
use crate::worker::Worker;
use crate::{Result, StoreError, idempotency, schema};
use qila_api::Tenant;
use rusqlite::{Connection, OpenFlags};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Threads that read.
const READERS: usize = 2;

/// What a node remembers. Clones are the same store; its threads end with the last of them.
#[derive(Clone)]
pub struct Store {
    pub(crate) writer: Worker,
    pub(crate) reader: Worker,
    pub(crate) known: Arc<Known>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

impl Store {
    /// Opens the file, making or migrating it, and releases what dead processes had claimed. The directory must be there.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if it is no store of Qila's, [`StoreError::TooNew`] if a later Qila wrote it.
    pub fn open(path: &Path) -> Result<Store> {
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        opened(path, &directory).map_err(|error| error.judged(&directory))
    }

    /// Writes something, to know whether the store can be written.
    pub async fn probe(&self) -> Result<()> {
        let write = |db: &Connection| {
            db.prepare_cached("UPDATE probe SET n = n + 1")?.execute([])?;
            Ok(())
        };
        self.writer.ask(write).await
    }

    /// Reads the whole file and says whether it is sound. It takes as long as reading it takes.
    pub async fn check(&self) -> Result<()> {
        let check = |db: &Connection| {
            let said: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
            if said == "ok" {
                Ok(())
            } else {
                Err(StoreError::Corrupt(said))
            }
        };
        self.reader.ask(check).await
    }

    /// Requests that wait to be written.
    pub fn queue_depth(&self) -> usize {
        self.writer.depth()
    }
}

fn opened(path: &Path, directory: &Path) -> Result<Store> {
    // Made here and not by SQLite, so that nobody else can ever read it; its journal gets the same permissions.
    let made = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path);
    drop(made.map_err(|source| StoreError::File {
        path: path.to_owned(),
        source,
    })?);
    let mut writer = connect(path)?;
    schema::migrate(&mut writer)?;
    idempotency::release_dead(&mut writer)?;
    let readers: Vec<_> = (0..READERS).map(|_| read_only(path)).collect::<Result<_>>()?;
    let known = Known::new(read_only(path)?);
    Ok(Store {
        writer: Worker::writer(writer, directory.to_owned())?,
        reader: Worker::readers(readers, directory.to_owned())?,
        known: Arc::new(known),
    })
}

fn connect(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    schema::prepare(&db)?;
    Ok(db)
}

/// A connection that is told to change nothing. (Opened to write, since readers share the journal's index.)
fn read_only(path: &Path) -> Result<Connection> {
    let db = connect(path)?;
    db.pragma_update(None, "query_only", true)?;
    Ok(db)
}

/// Unix milliseconds, as SQLite keeps them.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A tenant out of a row.
pub(crate) fn tenant(text: &str) -> Result<Tenant> {
    Tenant::parse(text).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// Refuses a body that is too large.
pub(crate) fn bounded(body: &[u8]) -> Result<()> {
    if body.len() > crate::MAX_BODY {
        Err(StoreError::TooLarge(body.len()))
    } else {
        Ok(())
    }
}
