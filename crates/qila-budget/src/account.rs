//! What may be done with an account; pure.
use crate::clock::Now;
use crate::record::{MAX_OWNERS, Owner, PARTS, Record};
use std::time::Duration;

/// Why nothing could be reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum No {
    /// There is not that much left.
    Full {
        spent: u64,
        reserved: u64,
        /// Time after which enough of what was spent has left the window, were nothing else to happen.
        retry: Option<Duration>,
    },
    /// Too many processes hold reservations.
    Owners,
}

impl Record {
    /// Lets time pass. Milliseconds of one part of the window; none: there is none.
    pub(crate) fn pass(&mut self, now: Now, window_ms: Option<u64>) -> u64 {
        let gone = match self.boot == now.boot {
            _ if self.boot == [0; 16] => 0, // a new account's time begins now
            true => now.since_boot_ms.saturating_sub(self.since_boot_ms),
            false => now.wall_ms.saturating_sub(self.wall_ms),
        };
        if self.boot == now.boot {
            self.since_boot_ms = self.since_boot_ms.max(now.since_boot_ms);
        } else {
            (self.boot, self.since_boot_ms) = (now.boot, now.since_boot_ms);
        }
        self.wall_ms = now.wall_ms;
        self.time_ms = self.time_ms.saturating_add(gone);
        let Some(window) = window_ms else { return 0 };
        let length = part_ms(window);
        let part = self.time_ms / length;
        self.spent.retain(|(p, _)| p.saturating_add(PARTS) >= part);
        part
    }

    pub(crate) fn total_spent(&self) -> u64 {
        self.spent
            .iter()
            .fold(0, |all: u64, (_, n)| all.saturating_add(*n))
    }

    pub(crate) fn total_reserved(&self) -> u64 {
        self.reserved
            .iter()
            .fold(0, |all: u64, (_, n)| all.saturating_add(*n))
    }

    /// Reserves, or says why not.
    pub(crate) fn reserve(
        &mut self,
        owner: &Owner,
        amount: u64,
        limit: u64,
        window_ms: Option<u64>,
        now: Now,
    ) -> Result<(), No> {
        self.pass(now, window_ms);
        let (spent, reserved) = (self.total_spent(), self.total_reserved());
        let wanted = spent.saturating_add(reserved).saturating_add(amount);
        if wanted > limit {
            let retry = window_ms.and_then(|w| self.retry(wanted - limit, w));
            return Err(No::Full {
                spent,
                reserved,
                retry,
            });
        }
        let full = self.reserved.len() >= MAX_OWNERS;
        match self.reserved.iter_mut().find(|(o, _)| o == owner) {
            Some((_, held)) => *held = held.saturating_add(amount),
            None if full => return Err(No::Owners),
            None => self.reserved.push((*owner, amount)),
        }
        Ok(())
    }

    fn retry(&self, missing: u64, window: u64) -> Option<Duration> {
        let mut parts = self.spent.clone();
        parts.sort_unstable();
        let mut freed = 0u64;
        let last = parts.iter().find(|(_, n)| {
            freed = freed.saturating_add(*n);
            freed >= missing
        })?;
        let free_at = last.0.saturating_add(PARTS + 1).saturating_mul(part_ms(window));
        Some(Duration::from_millis(free_at.saturating_sub(self.time_ms)))
    }

    /// What had been reserved is given back, and what was used is spent.
    pub(crate) fn settle(
        &mut self,
        owner: &Owner,
        reserved: u64,
        used: u64,
        window_ms: Option<u64>,
        now: Now,
    ) {
        let part = self.pass(now, window_ms);
        if let Some((_, held)) = self.reserved.iter_mut().find(|(o, _)| o == owner) {
            *held = held.saturating_sub(reserved);
        }
        self.reserved.retain(|(_, n)| *n > 0);
        self.overrun = self.overrun.saturating_add(used.saturating_sub(reserved));
        self.spend(part, used);
    }

    fn spend(&mut self, part: u64, amount: u64) {
        if amount == 0 {
            return;
        }
        match self.spent.iter_mut().find(|(p, _)| *p == part) {
            Some((_, n)) => *n = n.saturating_add(amount),
            None => self.spent.push((part, amount)),
        }
    }

    /// What a dead owner had reserved counts as spent, once. Answers how much that was.
    pub(crate) fn fold(&mut self, owner: &Owner, window_ms: Option<u64>, now: Now) -> u64 {
        let part = self.pass(now, window_ms);
        let held = self
            .reserved
            .iter()
            .filter(|(o, _)| o == owner)
            .map(|(_, n)| *n)
            .sum();
        self.reserved.retain(|(o, _)| o != owner);
        self.unsettled = self.unsettled.saturating_add(held);
        self.spend(part, held);
        held
    }
}

fn part_ms(window: u64) -> u64 {
    window.div_ceil(PARTS).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Now {
        Now {
            boot: [1; 16],
            since_boot_ms: ms,
            wall_ms: 5,
        }
    }

    #[test]
    fn a_window_slides_and_never_holds_more_than_its_limit() {
        let (me, window) = ([1; 20], Some(60_000));
        let mut record = Record::new([0; 32]);
        record.reserve(&me, 10, 10, window, at(0)).unwrap();
        let no = record.reserve(&me, 1, 10, window, at(100)).unwrap_err();
        assert!(matches!(
            no,
            No::Full {
                spent: 0,
                reserved: 10,
                retry: None
            }
        ));
        record.settle(&me, 10, 8, window, at(30_500));
        record.reserve(&me, 2, 10, window, at(31_000)).unwrap();
        record.settle(&me, 2, 2, window, at(31_000));
        for time in [31_500, 60_000, 90_000, 90_900] {
            let no = record.reserve(&me, 1, 10, window, at(time)).unwrap_err();
            let No::Full {
                retry: Some(retry), ..
            } = no
            else {
                panic!("{no:?}")
            };
            assert_eq!(time + u64::try_from(retry.as_millis()).unwrap(), 91_000);
        }
        record.reserve(&me, 8, 10, window, at(91_000)).unwrap();
    }

    #[test]
    fn the_wall_clock_frees_nothing_until_a_restart() {
        let (me, window) = ([1; 20], Some(60_000));
        let mut record = Record::new([0; 32]);
        record.reserve(&me, 10, 10, window, at(1000)).unwrap();
        record.settle(&me, 10, 10, window, at(1000));
        let jumped = Now {
            wall_ms: u64::MAX,
            ..at(2000)
        };
        assert!(record.reserve(&me, 1, 10, window, jumped).is_err());
        let back = Now {
            boot: [2; 16],
            since_boot_ms: 0,
            wall_ms: 0,
        };
        assert!(record.reserve(&me, 1, 10, window, back).is_err());
        let later = Now {
            wall_ms: 200_000,
            boot: [3; 16],
            since_boot_ms: 0,
        };
        assert!(record.reserve(&me, 10, 10, window, later).is_ok());
    }

    #[test]
    fn a_dead_owner_is_counted_once() {
        let mut record = Record::new([0; 32]);
        record.reserve(&[1; 20], 4, 10, None, at(0)).unwrap();
        record.reserve(&[2; 20], 5, 10, None, at(0)).unwrap();
        assert_eq!(record.fold(&[1; 20], None, at(1)), 4);
        assert_eq!(record.fold(&[1; 20], None, at(2)), 0);
        assert_eq!(
            (record.total_spent(), record.total_reserved(), record.unsettled),
            (4, 5, 4)
        );
        record.settle(&[2; 20], 5, 7, None, at(3));
        assert_eq!(
            (record.total_spent(), record.total_reserved(), record.overrun),
            (11, 0, 2)
        );
        assert!(record.reserve(&[2; 20], 0, 10, None, at(4)).is_err());
    }
}
