//! How many of all places one tenant may hold: others always find some.
use qila_api::Tenant;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What each tenant holds.
pub(crate) struct Shares {
    most: usize,
    held: Mutex<HashMap<Tenant, usize>>,
}

/// One of a tenant's places, until the last of its owners drops it.
#[derive(Clone)]
pub(crate) struct Share(#[expect(dead_code, reason = "it is kept, not read")] Arc<Kept>);

struct Kept {
    all: Arc<Shares>,
    tenant: Tenant,
}

impl Shares {
    /// Of so many places, three quarters for one tenant.
    pub fn new(places: usize) -> Arc<Shares> {
        Arc::new(Shares {
            most: places - places / 4,
            held: Mutex::default(),
        })
    }

    /// None: the tenant has all that it may have.
    pub fn take(self: &Arc<Shares>, tenant: &Tenant) -> Option<Share> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let n = held.get(tenant).copied().unwrap_or(0);
        if n >= self.most {
            return None;
        }
        held.insert(tenant.clone(), n + 1);
        Some(Share(Arc::new(Kept {
            all: Arc::clone(self),
            tenant: tenant.clone(),
        })))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let mut held = self.all.held.lock().unwrap_or_else(PoisonError::into_inner);
        match held.get_mut(&self.tenant) {
            Some(n) if *n > 1 => *n -= 1,
            // Who holds nothing is forgotten.
            _ => drop(held.remove(&self.tenant)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_has_three_quarters_and_others_the_rest() {
        let [one, other] = ["one", "other"].map(|name| Tenant::parse(name).unwrap());
        let shares = Shares::new(8);
        let mut held: Vec<_> = (0..6).map(|_| shares.take(&one).unwrap()).collect();
        assert!(shares.take(&one).is_none());
        assert!(shares.take(&other).is_some());
        let twice = held[0].clone();
        drop(held.remove(0));
        assert!(shares.take(&one).is_none(), "it is held elsewhere");
        drop(twice);
        held.push(shares.take(&one).unwrap());
        assert!(shares.take(&one).is_none());
        drop(held);
        assert!(shares.held.lock().unwrap().is_empty());
        assert!(Shares::new(1).take(&one).is_some());
    }
}
