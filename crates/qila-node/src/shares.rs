//! Fair shares of the processors: all sandboxes of a tenant are in one cgroup, so that a tenant with many gets no more than one
//! with few when not all can have what they want.
use crate::fault::internal;
use qila_api::{Result, Tenant};
use qila_plan::CgroupFacts;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// What the kernel gives a cgroup of weight 100: on v1, and on v2.
const SHARES_V1: u64 = 1024;
const WEIGHT_V2: u64 = 100;

/// The cgroups of a node's tenants.
#[derive(Debug)]
pub(crate) struct Shares {
    facts: CgroupFacts,
    /// Tells the cgroups of this node from those of others.
    mark: String,
    tenants: Mutex<HashMap<Tenant, u32>>,
}

/// A place in a tenant's cgroup. With the last one the cgroup goes.
#[derive(Debug)]
pub(crate) struct Share {
    shares: Arc<Shares>,
    tenant: Tenant,
}

impl Shares {
    /// Of the node that keeps its sandboxes there.
    pub(crate) fn new(facts: CgroupFacts, state: &Path) -> Arc<Shares> {
        let digest = Sha256::digest(state.as_os_str().as_encoded_bytes());
        let mark = digest.iter().take(4).map(|b| format!("{b:02x}")).collect();
        Arc::new(Shares {
            facts,
            mark,
            tenants: Mutex::default(),
        })
    }

    fn name(&self, tenant: &Tenant) -> String {
        format!("qila-{}-{tenant}", self.mark)
    }

    /// Directories in which this node makes cgroups: those of its tenants, and those above them.
    pub(crate) fn parents(&self) -> Vec<PathBuf> {
        let mut out = Vec::new();
        for above in above(&self.facts) {
            let inner = std::fs::read_dir(&above)
                .into_iter()
                .flatten()
                .flatten()
                .map(|e| e.path());
            let prefix = format!("qila-{}-", self.mark);
            let own = |p: &PathBuf| {
                p.file_name()
                    .is_some_and(|n| n.to_string_lossy().starts_with(&prefix))
            };
            out.extend(inner.filter(own));
            out.push(above);
        }
        out
    }

    /// Removes the cgroups of tenants that have none any more: what an earlier process has left.
    pub(crate) fn tidy(&self) {
        let tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if tenants.is_empty() {
            let above = above(&self.facts);
            for path in self.parents().into_iter().filter(|p| !above.contains(p)) {
                let _ = std::fs::remove_dir(path); // one that is in use stays
            }
        }
    }

    /// Leaves the cgroups to whoever takes up their sandboxes: none is removed any more.
    pub(crate) fn let_go(&self) {
        self.tenants
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// Takes a place in a tenant's cgroup, which is made for the first.
    pub(crate) fn take(self: &Arc<Shares>, tenant: &Tenant, weight: u32) -> Result<Share> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if !tenants.contains_key(tenant) {
            self.make(tenant, weight)
                .map_err(|e| internal("making a tenant's cgroup", &e))?;
        }
        *tenants.entry(tenant.clone()).or_default() += 1;
        Ok(Share {
            shares: self.clone(),
            tenant: tenant.clone(),
        })
    }

    fn make(&self, tenant: &Tenant, weight: u32) -> std::io::Result<()> {
        let weight = u64::from(weight.clamp(1, 10_000));
        for above in above(&self.facts) {
            let dir = above.join(self.name(tenant));
            match std::fs::create_dir(&dir) {
                Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(e),
                _ => {}
            }
            let write = |file: &str, value: String| {
                use std::io::Write;
                let opened = std::fs::OpenOptions::new().write(true).open(dir.join(file));
                opened.and_then(|mut f| f.write_all(value.as_bytes()))
            };
            let put = |file: &str, value: String| match write(file, value) {
                // Only where processors are shared out there is such a file.
                Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
                other => other,
            };
            match &self.facts {
                CgroupFacts::V2 { controllers, .. } => {
                    let all: Vec<String> = controllers.iter().map(|c| format!("+{c}")).collect();
                    write("cgroup.subtree_control", all.join(" "))?;
                    put(
                        "cpu.weight",
                        (weight * WEIGHT_V2 / 100).clamp(1, 10_000).to_string(),
                    )?;
                }
                _ => put("cpu.shares", (weight * SHARES_V1 / 100).max(2).to_string())?,
            }
        }
        Ok(())
    }
}

fn above(facts: &CgroupFacts) -> Vec<PathBuf> {
    match facts {
        CgroupFacts::V2 { parent, .. } => vec![parent.into()],
        CgroupFacts::V1 { parents } => parents.values().map(PathBuf::from).collect(),
        CgroupFacts::None { .. } => Vec::new(),
    }
}

impl Share {
    /// Where the sandboxes of this tenant are made.
    pub(crate) fn facts(&self) -> CgroupFacts {
        let name = self.shares.name(&self.tenant);
        match &self.shares.facts {
            CgroupFacts::V2 { parent, controllers } => CgroupFacts::V2 {
                parent: format!("{parent}/{name}"),
                controllers: controllers.clone(),
            },
            CgroupFacts::V1 { parents } => CgroupFacts::V1 {
                parents: parents
                    .iter()
                    .map(|(c, p)| (c.clone(), format!("{p}/{name}")))
                    .collect(),
            },
            none @ CgroupFacts::None { .. } => none.clone(),
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut tenants = self.shares.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(n) = tenants.get_mut(&self.tenant) else {
            return;
        };
        *n -= 1;
        if *n > 0 {
            return;
        }
        tenants.remove(&self.tenant);
        for above in above(&self.shares.facts) {
            // Under the lock: nobody makes anything in it now. What cannot be removed is tidied up by the next start.
            let _ = std::fs::remove_dir(above.join(self.shares.name(&self.tenant)));
        }
    }
}
