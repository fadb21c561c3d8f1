//! Documents: what is known of a sandbox, a snapshot or a template, as bytes that the store does not read.
use crate::Result;
use crate::store::{Store, bounded, tenant};
use qila_api::Tenant;
use rusqlite::{Connection, OptionalExtension, params};

/// What a document is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A sandbox.
    Sandbox,
    /// A snapshot.
    Snapshot,
    /// A template.
    Template,
}

impl Kind {
    /// As in the file: these numbers never change.
    fn number(self) -> i64 {
        match self {
            Kind::Sandbox => 1,
            Kind::Snapshot => 2,
            Kind::Template => 3,
        }
    }
}

/// A document that is to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// What it is about.
    pub kind: Kind,
    /// Its id among those of its kind.
    pub id: String,
    /// Whose it is.
    pub tenant: Tenant,
    /// Its bytes, at most [`crate::MAX_BODY`].
    pub body: Vec<u8>,
}

/// A document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its id among those of its kind.
    pub id: String,
    /// Whose it is.
    pub tenant: Tenant,
    /// Its bytes.
    pub body: Vec<u8>,
}

impl Store {
    /// Keeps a document in the place of the one that had its id.
    pub async fn put(&self, kind: Kind, id: &str, tenant: &Tenant, body: Vec<u8>) -> Result<()> {
        let (id, tenant) = (id.to_owned(), tenant.clone());
        self.put_all(vec![Put {
            kind,
            id,
            tenant,
            body,
        }])
        .await
    }

    /// Keeps all of them, or none.
    pub async fn put_all(&self, documents: Vec<Put>) -> Result<()> {
        for document in &documents {
            bounded(&document.body)?;
        }
        let write = move |db: &Connection| {
            let mut keep = db.prepare_cached(
                "INSERT OR REPLACE INTO document (kind, id, tenant, body) VALUES (?, ?, ?, ?)",
            )?;
            for each in &documents {
                keep.execute(params![
                    each.kind.number(),
                    each.id,
                    each.tenant.as_str(),
                    each.body
                ])?;
            }
            Ok(())
        };
        self.writer.ask(write).await
    }

    /// Removes one. False: there was none.
    pub async fn remove(&self, kind: Kind, id: &str) -> Result<bool> {
        let id = id.to_owned();
        let write = move |db: &Connection| {
            let mut gone = db.prepare_cached("DELETE FROM document WHERE kind = ? AND id = ?")?;
            Ok(gone.execute(params![kind.number(), id])? > 0)
        };
        self.writer.ask(write).await
    }

    /// One of them.
    pub async fn get(&self, kind: Kind, id: &str) -> Result<Option<Document>> {
        let id = id.to_owned();
        let read = move |db: &Connection| {
            let mut one =
                db.prepare_cached("SELECT id, tenant, body FROM document WHERE kind = ? AND id = ?")?;
            let row = one.query_row(params![kind.number(), id], columns).optional()?;
            row.map(document).transpose()
        };
        self.reader.ask(read).await
    }

    /// All of a kind, by id.
    pub async fn all(&self, kind: Kind) -> Result<Vec<Document>> {
        let read = move |db: &Connection| {
            let mut all =
                db.prepare_cached("SELECT id, tenant, body FROM document WHERE kind = ? ORDER BY id")?;
            let rows = all.query_map([kind.number()], columns)?;
            rows.map(|row| document(row?)).collect()
        };
        self.reader.ask(read).await
    }
}

type Columns = (String, String, Vec<u8>);

fn columns(row: &rusqlite::Row<'_>) -> rusqlite::Result<Columns> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

fn document((id, whose, body): Columns) -> Result<Document> {
    Ok(Document {
        id,
        tenant: tenant(&whose)?,
        body,
    })
}
