//! Tenants and what they may have.
use crate::store::{Store, tenant};
use crate::{Result, StoreError};
use qila_api::{Quota, Tenant};
use rusqlite::{Connection, params};

impl Store {
    /// Makes a tenant, or gives one that is there another quota.
    pub async fn put_tenant(&self, tenant: Tenant, quota: Quota) -> Result<()> {
        let body = serde_json::to_vec(&quota).map_err(|e| StoreError::Corrupt(format!("a quota: {e}")))?;
        let write = move |db: &Connection| {
            db.prepare_cached(
                "INSERT INTO tenant (tenant, quota) VALUES (?1, ?2) ON CONFLICT (tenant) DO UPDATE SET quota = ?2",
            )?
            .execute(params![tenant.as_str(), body])?;
            Ok(())
        };
        self.writer.ask(write).await
    }

    /// All of them, by name.
    pub async fn tenants(&self) -> Result<Vec<(Tenant, Quota)>> {
        self.reader.ask(read).await
    }

    /// Removes one with its keys. False: there was none.
    ///
    /// # Errors
    /// [`StoreError::InUse`] while it has sandboxes, snapshots or templates.
    pub async fn remove_tenant(&self, tenant: &Tenant) -> Result<bool> {
        let tenant = tenant.clone();
        let write = move |db: &Connection| {
            let used: bool = db
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM document WHERE tenant = ?)")?
                .query_row([tenant.as_str()], |row| row.get(0))?;
            if used {
                return Err(StoreError::InUse(format!("tenant `{tenant}`")));
            }
            for table in ["claim", "event"] {
                db.execute(
                    &format!("DELETE FROM {table} WHERE tenant = ?"),
                    [tenant.as_str()],
                )?;
            }
            // Its keys go with it: see the schema.
            let gone = db.execute("DELETE FROM tenant WHERE tenant = ?", [tenant.as_str()])?;
            Ok(gone > 0)
        };
        self.writer.ask(write).await
    }
}

/// All of them, by name.
pub(crate) fn read(db: &Connection) -> Result<Vec<(Tenant, Quota)>> {
    let mut all = db.prepare_cached("SELECT tenant, quota FROM tenant ORDER BY tenant")?;
    let rows = all.query_map([], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?))
    })?;
    rows.map(|row| {
        let (name, quota) = row?;
        let quota =
            serde_json::from_slice(&quota).map_err(|e| StoreError::Corrupt(format!("a quota: {e}")))?;
        Ok((tenant(&name)?, quota))
    })
    .collect()
}
