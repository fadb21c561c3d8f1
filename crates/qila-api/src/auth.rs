//! Who asks, and how much they may have.
use crate::Result;
use crate::id::Tenant;
use async_trait::async_trait;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// For whom: nothing of another tenant's is there for it.
    pub tenant: Tenant,
    /// Id of the key that was shown.
    pub key: String,
    /// Whether it may also look after tenants, keys and templates of all.
    pub admin: bool,
}

/// Knows keys.
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// Who holds this key; none: it is unknown, expired or revoked. An error is a failure of the node, and nobody is let in.
    async fn authenticate(&self, key: &SecretString) -> Result<Option<Principal>>;
}

/// The most that a tenant may have at once. Paused sandboxes count as sandboxes and for their disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Sandboxes.
    pub sandboxes: u32,
    /// Processors of all of them together, in thousandths.
    pub cpu_milli: u64,
    /// Memory of all of them together, MiB.
    pub memory_mib: u64,
    /// Disk of all of them together, MiB.
    pub disk_mib: u64,
    /// Share of the processors relative to other tenants, when not all can have what they want; 100 is usual.
    pub weight: u32,
}

impl Quota {
    /// No bound but the machine's own.
    pub const NONE: Quota = Quota {
        sandboxes: u32::MAX,
        cpu_milli: u64::MAX,
        memory_mib: u64::MAX,
        disk_mib: u64::MAX,
        weight: 100,
    };
}

/// Knows quotas.
pub trait Quotas: Send + Sync + 'static {
    /// What a tenant may have now. Asked at every creation: it must not wait.
    fn quota(&self, tenant: &Tenant) -> Quota;
}
