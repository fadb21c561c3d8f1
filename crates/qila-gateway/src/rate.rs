//! Rates, as token buckets that start full.
use qila_types::{Flow, Rate};
use std::cell::Cell;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A token bucket.
#[derive(Debug)]
pub(crate) struct Bucket {
    state: Cell<(f64, Instant)>,
    per_second: f64,
    burst: f64,
}

impl Bucket {
    /// Refills at a rate, holds at most `burst`.
    pub(crate) fn new(per_second: f64, burst: f64) -> Bucket {
        Bucket {
            state: Cell::new((burst, Instant::now())),
            per_second,
            burst,
        }
    }

    /// For a rate of a policy.
    pub(crate) fn of_rate(rate: Rate) -> Bucket {
        let per_second = f64::from(rate.count) * 1000.0 / rate.per.0.max(1) as f64;
        Bucket::new(per_second, f64::from(rate.at_once()))
    }

    /// For a byte rate of a policy; where it names no burst, one second's worth may pass at once.
    pub(crate) fn of_bytes(flow: Flow) -> Bucket {
        Bucket::new(flow.limit.0 as f64, flow.at_once() as f64)
    }

    fn refill(&self) -> f64 {
        let (tokens, then) = self.state.get();
        let now = Instant::now();
        let more = now.saturating_duration_since(then).as_secs_f64() * self.per_second;
        let tokens = (tokens + more).min(self.burst);
        self.state.set((tokens, now));
        tokens
    }

    /// Takes one if there is one.
    pub(crate) fn try_take(&self) -> bool {
        let tokens = self.refill();
        if tokens < 1.0 {
            return false;
        }
        self.state.set((tokens - 1.0, Instant::now()));
        true
    }

    /// Time until one can be taken.
    pub(crate) fn wait_for_one(&self) -> Duration {
        let missing = (1.0 - self.refill()).max(0.0);
        Duration::from_secs_f64((missing / self.per_second.max(1e-9)).min(86_400.0))
    }

    /// Takes `n`, going into debt. Answers how long the debt lasts.
    pub(crate) fn owe(&self, n: usize) -> Option<Duration> {
        let tokens = self.refill() - n as f64;
        self.state.set((tokens, Instant::now()));
        (tokens < 0.0).then(|| Duration::from_secs_f64((-tokens / self.per_second.max(1e-9)).min(86_400.0)))
    }

    /// Takes `n`, going into debt, and sleeps the debt off.
    pub(crate) async fn take(&self, n: usize) {
        if let Some(debt) = self.owe(n) {
            sleep(debt).await;
        }
    }
}

/// Takes from a bucket, if there is one.
pub(crate) async fn take(bucket: Option<&Bucket>, n: usize) {
    if let Some(bucket) = bucket {
        bucket.take(n).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qila_types::{ByteRate, Millis};

    #[tokio::test(start_paused = true)]
    async fn a_bucket_allows_its_burst_and_then_its_rate() {
        let bucket = Bucket::of_rate(Rate::new(3, Millis(1000)));
        assert!((0..3).all(|_| bucket.try_take()));
        assert!(!bucket.try_take());
        tokio::time::advance(Duration::from_millis(400)).await;
        assert!(bucket.try_take());
        assert!(!bucket.try_take());
        let before = Instant::now();
        let bytes = Bucket::of_bytes(ByteRate(1000).into());
        bytes.take(1000).await;
        assert_eq!(before.elapsed(), Duration::ZERO);
        bytes.take(2000).await;
        assert!(before.elapsed() >= Duration::from_millis(1990));
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_what_may_come_at_once() {
        let rate: Rate = "60/min burst 5".parse().unwrap();
        let bucket = Bucket::of_rate(rate);
        assert!((0..5).all(|_| bucket.try_take()));
        assert!(!bucket.try_take());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(bucket.try_take());
        assert!(!bucket.try_take());
        let flow: Flow = "1KiB/s burst 4KiB".parse().unwrap();
        let bytes = Bucket::of_bytes(flow);
        assert_eq!(bytes.owe(4096), None);
        assert_eq!(bytes.owe(1024), Some(Duration::from_secs(1)));
    }
}
