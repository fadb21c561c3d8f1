//! All budgets of a run, asked together.
use crate::Quantity;
use crate::account::No;
use crate::book::{Book, BookError, Locked};
use crate::clock::Clock;
use crate::record::{Owner, Record};
use serde::Serialize;
use std::fs::File;
use std::time::Duration;

/// One budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// As messages name it: `budgets[0]`.
    pub name: String,
    /// What is counted.
    pub quantity: Quantity,
    /// The most of it.
    pub limit: u64,
    /// Length of its window; none means for ever.
    pub window_ms: Option<u64>,
}

/// The worst that a request can use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Claim {
    /// Requests.
    pub requests: u64,
    /// Tokens.
    pub tokens: u64,
    /// Millionths of a dollar.
    pub micros: u64,
    /// Bytes.
    pub bytes: u64,
}

/// What a request has used.
pub type Actual = Claim;

impl Claim {
    fn of(&self, quantity: Quantity) -> u64 {
        match quantity {
            Quantity::Requests => self.requests,
            Quantity::Tokens => self.tokens,
            Quantity::Money => self.micros,
            Quantity::Bytes => self.bytes,
        }
    }
}

/// A budget has no room.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name} has no room: of {limit} {quantity:?}, {spent} are spent and {reserved} reserved, {asked} more could be needed"
)]
pub struct Exceeded {
    /// Its place among the budgets.
    pub budget: usize,
    /// Its name.
    pub name: String,
    /// What it counts.
    pub quantity: Quantity,
    /// Its limit.
    pub limit: u64,
    /// What is spent.
    pub spent: u64,
    /// What is reserved by requests under way.
    pub reserved: u64,
    /// What was asked for.
    pub asked: u64,
    /// When there may be room again.
    pub retry_after: Option<Duration>,
}

/// Why nothing was reserved.
#[derive(Debug, thiserror::Error)]
pub enum Unreserved {
    /// There is no room.
    #[error(transparent)]
    Exceeded(#[from] Exceeded),
    /// It cannot be told.
    #[error(transparent)]
    Book(#[from] BookError),
}

/// What was reserved. One that is dropped without being settled stays reserved, and is spent in full when its owner ends.
#[derive(Debug)]
#[must_use = "what is not settled is spent in full"]
pub struct Reservation {
    held: Vec<Held>,
}

#[derive(Debug)]
struct Held {
    budget: usize,
    key: [u8; 32],
    amount: u64,
}

/// One account, for a person to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Name of the budget.
    pub budget: String,
    /// What it counts.
    pub quantity: Quantity,
    /// Its limit.
    pub limit: u64,
    /// Spent, within the window where there is one.
    pub spent: u64,
    /// Reserved by requests under way.
    pub reserved: u64,
    /// Of all that was ever spent: by owners that died before they could say how much.
    pub unsettled: u64,
    /// Of all that was ever spent: beyond what had been reserved.
    pub overrun: u64,
}

/// The budgets of one owner.
pub struct Ledger {
    budgets: Vec<(Budget, Book)>,
    owner: Owner,
    clock: Box<dyn Clock>,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger")
            .field("budgets", &self.budgets)
            .finish_non_exhaustive()
    }
}

impl Ledger {
    /// Opens budgets, each with the file of its accounts: open for reading and writing, by an `open` of this owner's own, since
    /// the lock belongs to it. With `sync`, what is reserved or settled survives the loss of power.
    pub fn open(budgets: Vec<(Budget, File)>, owner: Owner, clock: Box<dyn Clock>, sync: bool) -> Ledger {
        Ledger {
            budgets: budgets
                .into_iter()
                .map(|(b, f)| (b, Book::new(f, sync)))
                .collect(),
            owner,
            clock,
        }
    }

    /// Whether there is any budget.
    pub fn is_empty(&self) -> bool {
        self.budgets.is_empty()
    }

    /// Whether some budget counts this.
    pub fn counts(&self, quantity: Quantity) -> bool {
        self.budgets.iter().any(|(b, _)| b.quantity == quantity)
    }

    /// Reserves a claim in every budget that `account` names an account of, or in none.
    pub fn reserve(
        &mut self,
        claim: &Claim,
        account: impl Fn(usize) -> Option<[u8; 32]>,
    ) -> Result<Reservation, Unreserved> {
        let wanted = (0..self.budgets.len()).filter_map(|i| Some((i, account(i)?)));
        let mut reservation = Reservation { held: Vec::new() };
        let wanted: Vec<(usize, [u8; 32])> = wanted.collect();
        self.take(&wanted, claim, &mut reservation)?;
        Ok(reservation)
    }

    /// Reserves more for a request under way, in the same accounts.
    pub fn extend(&mut self, reservation: &mut Reservation, more: &Claim) -> Result<(), Unreserved> {
        let wanted: Vec<(usize, [u8; 32])> = reservation.held.iter().map(|h| (h.budget, h.key)).collect();
        self.take(&wanted, more, reservation)
    }

    fn take(
        &mut self,
        wanted: &[(usize, [u8; 32])],
        claim: &Claim,
        reservation: &mut Reservation,
    ) -> Result<(), Unreserved> {
        let now = self.clock.now();
        let owner = self.owner;
        // All are locked, in one order, before one is written.
        let mut open: Vec<(usize, &Budget, Locked<'_>, usize, Record, u64)> = Vec::new();
        for (at, (budget, book)) in self.budgets.iter_mut().enumerate() {
            let Some((_, key)) = wanted.iter().find(|(i, _)| *i == at) else {
                continue;
            };
            let asked = claim.of(budget.quantity);
            let mut locked = book.lock()?;
            let (place, mut record) = locked.find(*key)?;
            match record.reserve(&owner, asked, budget.limit, budget.window_ms, now) {
                Ok(()) => open.push((at, budget, locked, place, record, asked)),
                Err(No::Owners) => return Err(BookError::Full.into()),
                Err(No::Full {
                    spent,
                    reserved,
                    retry,
                }) => {
                    return Err(Exceeded {
                        budget: at,
                        name: budget.name.clone(),
                        quantity: budget.quantity,
                        limit: budget.limit,
                        spent,
                        reserved,
                        asked,
                        retry_after: retry,
                    }
                    .into());
                }
            }
        }
        for (at, _, locked, place, record, asked) in &mut open {
            if *asked > 0 {
                locked.put(*place, record)?;
            }
            match reservation
                .held
                .iter_mut()
                .find(|h| h.budget == *at && h.key == record.key)
            {
                Some(held) => held.amount = held.amount.saturating_add(*asked),
                None => reservation.held.push(Held {
                    budget: *at,
                    key: record.key,
                    amount: *asked,
                }),
            }
        }
        Ok(())
    }

    /// Gives back what was reserved and spends what was used.
    pub fn settle(&mut self, reservation: Reservation, used: &Actual) -> Result<(), BookError> {
        let now = self.clock.now();
        for held in reservation.held {
            let Some((budget, book)) = self.budgets.get_mut(held.budget) else {
                continue;
            };
            let used = used.of(budget.quantity);
            if held.amount == 0 && used == 0 {
                continue;
            }
            let mut locked = book.lock()?;
            let (place, mut record) = locked.find(held.key)?;
            record.settle(&self.owner, held.amount, used, budget.window_ms, now);
            locked.put(place, &mut record)?;
        }
        Ok(())
    }

    /// Spends in full what an owner that is no more had reserved. Answers, by budget, how much that was.
    pub fn fold(&mut self, owner: &Owner) -> Result<Vec<u64>, BookError> {
        let now = self.clock.now();
        let mut out = Vec::new();
        for (budget, book) in &mut self.budgets {
            let mut locked = book.lock()?;
            let mut folded = 0u64;
            for (place, mut record) in locked.all()?.into_iter().enumerate() {
                let held = record.fold(owner, budget.window_ms, now);
                if held > 0 {
                    locked.put(place, &mut record)?;
                    folded = folded.saturating_add(held);
                }
            }
            out.push(folded);
        }
        Ok(out)
    }

    /// Every account of every budget.
    pub fn report(&mut self) -> Result<Vec<Line>, BookError> {
        let (mut out, now) = (Vec::new(), self.clock.now());
        for (budget, book) in &mut self.budgets {
            for mut record in book.lock()?.all()? {
                record.pass(now, budget.window_ms);
                out.push(Line {
                    budget: budget.name.clone(),
                    quantity: budget.quantity,
                    limit: budget.limit,
                    spent: record.total_spent(),
                    reserved: record.total_reserved(),
                    unsettled: record.unsettled,
                    overrun: record.overrun,
                });
            }
        }
        Ok(out)
    }
}
