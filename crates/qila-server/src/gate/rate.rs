//! How many requests a tenant may make.
use governor::clock::{Clock, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use qila_api::Tenant;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Every so many requests, tenants that ask no more are forgotten.
const SWEEP: u32 = 65_536;

/// Rates of all tenants.
pub(crate) struct Rates {
    limiter: RateLimiter<Tenant, HashMapStateStore<Tenant>, DefaultClock>,
    clock: DefaultClock,
    since: AtomicU32,
}

impl Rates {
    /// So many requests per second for each, and so many at one moment; 0 counts as 1.
    pub fn new(rate: u32, burst: u32) -> Rates {
        let positive = |n: u32| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(positive(rate)).allow_burst(positive(burst));
        Rates {
            limiter: RateLimiter::hashmap(quota),
            clock: DefaultClock::default(),
            since: AtomicU32::new(0),
        }
    }

    /// Takes one. The error says after what time there will be one.
    pub fn take(&self, tenant: &Tenant) -> Result<(), Duration> {
        if self.since.fetch_add(1, Ordering::Relaxed) % SWEEP == SWEEP - 1 {
            self.limiter.retain_recent();
        }
        self.limiter
            .check_key(tenant)
            .map_err(|not| not.wait_time_from(self.clock.now()))
    }
}
