//! Who has how much: what a sandbox may use is taken before it is made and given back when it is gone.
use qila_api::{ApiError, Kind, Quota, Tenant};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What a sandbox may use at most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Need {
    pub cpu_milli: u64,
    pub memory_mib: u64,
    pub disk_mib: u64,
}

#[derive(Debug, Default)]
struct Sum {
    sandboxes: u32,
    need: Need,
}

#[derive(Debug, Default)]
struct Books {
    all: u32,
    tenants: HashMap<Tenant, Sum>,
}

/// The books of a node.
#[derive(Debug)]
pub(crate) struct Ledger {
    books: Mutex<Books>,
    most: u32,
}

/// What was taken. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Held {
    ledger: Arc<Ledger>,
    tenant: Tenant,
    need: Need,
}

impl Ledger {
    /// Of a node that has at most so many sandboxes.
    pub(crate) fn new(most: u32) -> Arc<Ledger> {
        Arc::new(Ledger {
            books: Mutex::default(),
            most,
        })
    }

    /// Takes what a sandbox needs, if the tenant and the node have it left: decided and taken in one step.
    pub(crate) fn take(
        self: &Arc<Ledger>,
        tenant: &Tenant,
        quota: &Quota,
        need: Need,
    ) -> Result<Held, ApiError> {
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        if books.all >= self.most {
            return Err(ApiError::new(
                Kind::Busy {
                    retry_after: std::time::Duration::from_secs(5),
                },
                format!("the node has {} sandboxes, the most that it takes", self.most),
            ));
        }
        let sum = books.tenants.entry(tenant.clone()).or_default();
        let over = |what: &str, used: u64, more: u64, most: u64| {
            (used.saturating_add(more) > most).then(|| {
                ApiError::new(
                    Kind::Quota,
                    format!("{what}: {used} of {most} are in use, and {more} more are asked for"),
                )
                .clause(format!("quota.{what}"))
                .hint("end a sandbox, or have the quota raised")
            })
        };
        let refusal = over("sandboxes", sum.sandboxes.into(), 1, quota.sandboxes.into())
            .or_else(|| over("cpu_milli", sum.need.cpu_milli, need.cpu_milli, quota.cpu_milli))
            .or_else(|| {
                over(
                    "memory_mib",
                    sum.need.memory_mib,
                    need.memory_mib,
                    quota.memory_mib,
                )
            })
            .or_else(|| over("disk_mib", sum.need.disk_mib, need.disk_mib, quota.disk_mib));
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        sum.add(need);
        books.all += 1;
        Ok(Held {
            ledger: self.clone(),
            tenant: tenant.clone(),
            need,
        })
    }

    /// Takes what a sandbox has that is there already, whatever is left.
    pub(crate) fn count(self: &Arc<Ledger>, tenant: &Tenant, need: Need) -> Held {
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        books.tenants.entry(tenant.clone()).or_default().add(need);
        books.all += 1;
        Held {
            ledger: self.clone(),
            tenant: tenant.clone(),
            need,
        }
    }
}

impl Sum {
    fn add(&mut self, need: Need) {
        self.sandboxes += 1;
        self.need.cpu_milli += need.cpu_milli;
        self.need.memory_mib += need.memory_mib;
        self.need.disk_mib += need.disk_mib;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut books = self.ledger.books.lock().unwrap_or_else(PoisonError::into_inner);
        books.all = books.all.saturating_sub(1);
        let Some(sum) = books.tenants.get_mut(&self.tenant) else {
            return;
        };
        sum.sandboxes = sum.sandboxes.saturating_sub(1);
        sum.need.cpu_milli = sum.need.cpu_milli.saturating_sub(self.need.cpu_milli);
        sum.need.memory_mib = sum.need.memory_mib.saturating_sub(self.need.memory_mib);
        sum.need.disk_mib = sum.need.disk_mib.saturating_sub(self.need.disk_mib);
        if sum.sandboxes == 0 {
            books.tenants.remove(&self.tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_holds_however_many_ask_at_once() {
        let ledger = Ledger::new(1000);
        let tenant = Tenant::parse("t").unwrap();
        let quota = Quota {
            sandboxes: 50,
            memory_mib: 40 * 256,
            ..Quota::NONE
        };
        let need = Need {
            memory_mib: 256,
            ..Need::default()
        };
        let held: Vec<Held> = std::thread::scope(|scope| {
            let ask = || {
                scope.spawn(|| {
                    (0..20)
                        .filter_map(|_| ledger.take(&tenant, &quota, need).ok())
                        .collect::<Vec<_>>()
                })
            };
            let threads: Vec<_> = (0..8).map(|_| ask()).collect();
            threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
        });
        assert_eq!(held.len(), 40, "memory bounds first");
        let refused = ledger.take(&tenant, &quota, need).unwrap_err();
        assert_eq!(
            (refused.kind, refused.clause.as_deref()),
            (Kind::Quota, Some("quota.memory_mib"))
        );
        drop(held);
        assert!(ledger.take(&tenant, &quota, need).is_ok());
        assert!(
            ledger.books.lock().unwrap().tenants.is_empty(),
            "nothing is kept of who has nothing"
        );
    }

    #[test]
    fn a_full_node_is_busy_for_everyone() {
        let ledger = Ledger::new(1);
        let one = ledger
            .take(&Tenant::parse("a").unwrap(), &Quota::NONE, Need::default())
            .unwrap();
        let two = ledger.take(&Tenant::parse("b").unwrap(), &Quota::NONE, Need::default());
        assert!(matches!(two.unwrap_err().kind, Kind::Busy { .. }));
        drop(one);
        assert!(
            ledger
                .take(&Tenant::parse("b").unwrap(), &Quota::NONE, Need::default())
                .is_ok()
        );
    }
}
