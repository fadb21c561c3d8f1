//! What the agent spends: reserved before anything leaves, settled when it is known.
use crate::config::BudgetFile;
use crate::destination::Destination;
use qila_budget::{Actual, Budget, Claim, Exceeded, Ledger, Quantity, Reservation, SystemClock, Unreserved};
use qila_policy::model::{Amount, Budget as Clause, Per};
use rustix::fs::{CWD, Mode, OFlags, openat};
use sha2::{Digest, Sha256};
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

/// Bytes that are reserved at once for a body whose length nobody said.
const STEP: u64 = 64 * 1024;

/// All budgets of a run.
pub(crate) struct Spending {
    ledger: RefCell<Ledger>,
    clauses: Vec<Clause>,
    open: RefCell<Vec<Weak<Spend>>>,
}

/// As the ledger takes a clause of a policy.
pub fn budget(at: usize, clause: &Clause) -> Budget {
    Budget {
        name: format!("budgets[{at}] ({clause})"),
        quantity: match clause.amount {
            Amount::Money(_) => Quantity::Money,
            Amount::Tokens(_) => Quantity::Tokens,
            Amount::Requests(_) => Quantity::Requests,
            Amount::Bytes(_) => Quantity::Bytes,
        },
        limit: clause.amount.value(),
        window_ms: clause.window.map(|w| w.0),
    }
}

impl Spending {
    /// Opens every account's file.
    pub(crate) fn open(clauses: &[Clause], files: &[BudgetFile]) -> Result<Spending, String> {
        let mut budgets = Vec::new();
        let mut owner = [0u8; 20];
        for (at, clause) in clauses.iter().enumerate() {
            let file = files.get(at).ok_or("a budget has no file")?;
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let fd = openat(CWD, &file.path, flags, Mode::RUSR | Mode::WUSR);
            let fd = fd.map_err(|e| format!("opening {}: {e}", file.path.display()))?;
            budgets.push((budget(at, clause), std::fs::File::from(fd)));
            owner = file.owner;
        }
        let clock = SystemClock::new().map_err(|e| format!("reading the clock: {e}"))?;
        Ok(Spending {
            ledger: RefCell::new(Ledger::open(budgets, owner, Box::new(clock), false)),
            clauses: clauses.to_vec(),
            open: RefCell::default(),
        })
    }

    /// Whether tokens or money are bounded, so that a call whose cost nobody can tell must not be made.
    pub(crate) fn bounds_calls(&self) -> bool {
        let ledger = self.ledger.borrow();
        ledger.counts(Quantity::Tokens) || ledger.counts(Quantity::Money)
    }

    /// Whether money is bounded.
    pub(crate) fn counts_money(&self) -> bool {
        self.ledger.borrow().counts(Quantity::Money)
    }

    /// Reserves what a request may need.
    pub(crate) fn begin(self: &Rc<Self>, to: &Destination, claim: Claim) -> Result<Rc<Spend>, Unreserved> {
        let host = to.to_string();
        let held = self
            .ledger
            .borrow_mut()
            .reserve(&claim, |at| self.account(at, to, &host))?;
        let spend = Rc::new(Spend {
            spending: self.clone(),
            held: RefCell::new(Some(held)),
            claim,
            reserved: Cell::new(claim.bytes),
            used: Cell::new(Claim {
                requests: claim.requests,
                tokens: claim.tokens,
                micros: claim.micros,
                bytes: 0,
            }),
        });
        let mut open = self.open.borrow_mut();
        open.retain(|s| s.strong_count() > 0);
        open.push(Rc::downgrade(&spend));
        Ok(spend)
    }

    /// The account of a budget that a host's spending is on; none where the budget is for another host.
    fn account(&self, at: usize, to: &Destination, host: &str) -> Option<[u8; 32]> {
        let clause = self.clauses.get(at)?;
        let applies = clause.host.as_ref().is_none_or(|pattern| match to {
            Destination::Name(name) => pattern.matches_name(name),
            Destination::Address(ip) => pattern.matches_ip(*ip),
        });
        applies.then(|| match clause.per {
            Per::Run | Per::Agent => [0; 32],
            Per::Host => Sha256::digest(host.as_bytes()).into(),
        })
    }

    /// Settles all that is under way: nothing more will be heard of it.
    pub(crate) fn end(&self) {
        let open = std::mem::take(&mut *self.open.borrow_mut());
        open.iter().filter_map(Weak::upgrade).for_each(|s| s.settle());
    }
}

/// What one request has reserved.
pub(crate) struct Spend {
    spending: Rc<Spending>,
    held: RefCell<Option<Reservation>>,
    claim: Claim,
    reserved: Cell<u64>,
    used: Cell<Actual>,
}

impl Spend {
    /// Bytes pass. An error: there is no room for them, and they must not.
    pub(crate) fn bytes(&self, n: usize) -> Result<(), Unreserved> {
        let mut used = self.used.get();
        used.bytes = used.bytes.saturating_add(n as u64);
        self.used.set(used);
        let missing = used.bytes.saturating_sub(self.reserved.get());
        if missing == 0 {
            return Ok(());
        }
        let mut held = self.held.borrow_mut();
        let Some(held) = held.as_mut() else { return Ok(()) };
        let mut ledger = self.spending.ledger.borrow_mut();
        let more = |bytes| Claim {
            bytes,
            ..Claim::default()
        };
        // Where there is no room for a whole step there may be some for what is needed now.
        let got = match ledger.extend(held, &more(missing.max(STEP))) {
            Ok(()) => missing.max(STEP),
            Err(Unreserved::Exceeded(_)) => {
                ledger.extend(held, &more(missing))?;
                missing
            }
            Err(e) => return Err(e),
        };
        self.reserved.set(self.reserved.get().saturating_add(got));
        Ok(())
    }

    /// What a call of a model came to.
    pub(crate) fn called(&self, tokens: u64, micros: Option<u64>) {
        let mut used = self.used.get();
        used.tokens = tokens;
        used.micros = micros.unwrap_or(self.claim.micros);
        self.used.set(used);
    }

    /// Nothing of it has left.
    pub(crate) fn unsent(&self) {
        self.used.set(Claim::default());
        self.settle();
    }

    /// Gives back what was not used.
    pub(crate) fn settle(&self) {
        if let Some(held) = self.held.borrow_mut().take() {
            // What cannot be settled stays reserved: the safe side.
            let _ = self.spending.ledger.borrow_mut().settle(held, &self.used.get());
        }
    }
}

impl Drop for Spend {
    fn drop(&mut self) {
        self.settle();
    }
}

/// Whether waiting helps, and how long.
pub(crate) fn retry(exceeded: &Exceeded) -> Option<u64> {
    exceeded.retry_after.map(|d| d.as_secs().saturating_add(1))
}
