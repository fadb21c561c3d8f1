//! Chance that can be repeated: `QILA_SEED` gives the same throws again.
use crate::tell::{env, tell};

/// A generator (xorshift64*, S. Vigna, 2016), good enough to choose what a test does next.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// From `QILA_SEED`, or from the system; it is said which.
    pub fn new(what: &str) -> Dice {
        let mut bytes = [0_u8; 8];
        getrandom::fill(&mut bytes).expect("random bytes");
        let seed = env("QILA_SEED", u64::from_ne_bytes(bytes) >> 1 | 1);
        tell(&format!("{what}: QILA_SEED={seed}"));
        Dice(seed | 1)
    }

    /// Another one that throws otherwise.
    pub fn fork(&mut self) -> Dice {
        Dice(self.throw() | 1)
    }

    /// Any number.
    pub fn throw(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// One below this.
    pub fn below(&mut self, n: u64) -> u64 {
        self.throw() % n.max(1)
    }

    /// One of these.
    pub fn of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        let n = u64::try_from(all.len()).ok()?;
        all.get(usize::try_from(self.below(n)).ok()?)
    }

    /// Bytes that are not the same twice.
    pub fn bytes(&mut self, n: usize) -> Vec<u8> {
        let mut all = Vec::with_capacity(n + 8);
        while all.len() < n {
            all.extend_from_slice(&self.throw().to_le_bytes());
        }
        all.truncate(n);
        all
    }
}
