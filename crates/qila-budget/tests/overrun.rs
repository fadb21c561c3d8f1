//! Nobody gets more out of a budget than is in it: not by any order of steps, not two hundred at a time, not by dying.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failure here is the test's"
)]
use proptest::prelude::*;
use qila_budget::{Budget, Claim, Clock, Ledger, Now, Quantity, Reservation, SystemClock, Unreserved};
use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

const KEY: [u8; 32] = [7; 32];

fn open(path: &Path) -> File {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .unwrap()
}

fn budget(quantity: Quantity, limit: u64, window_ms: Option<u64>) -> Budget {
    Budget {
        name: format!("budgets[{quantity:?}]"),
        quantity,
        limit,
        window_ms,
    }
}

fn tokens(n: u64) -> Claim {
    Claim {
        tokens: n,
        ..Claim::default()
    }
}

#[derive(Clone)]
struct Hand(Rc<Cell<u64>>);

impl Clock for Hand {
    fn now(&self) -> Now {
        Now {
            boot: [1; 16],
            since_boot_ms: self.0.get(),
            wall_ms: 0,
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Reserve { client: usize, amount: u64 },
    Extend { which: usize, amount: u64 },
    Settle { which: usize, part: u64 },
    Drop { which: usize },
    Die { client: usize },
    Wait { ms: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4usize, 0..60u64).prop_map(|(client, amount)| Step::Reserve { client, amount }),
        1 => (0..64usize, 0..20u64).prop_map(|(which, amount)| Step::Extend { which, amount }),
        4 => (0..64usize, 0..=100u64).prop_map(|(which, part)| Step::Settle { which, part }),
        1 => (0..64usize).prop_map(|which| Step::Drop { which }),
        1 => (0..4usize).prop_map(|client| Step::Die { client }),
        2 => (0..700u64).prop_map(|ms| Step::Wait { ms }),
    ]
}

/// A client of the model: its ledger, and what it holds with the amounts.
struct Client {
    ledger: Ledger,
    owner: [u8; 20],
    held: Vec<(Reservation, u64)>,
    /// Reserved by what was dropped.
    lost: u64,
}

fn client(path: &Path, number: u8, limit: u64, window: Option<u64>, clock: &Hand) -> Client {
    let owner = [number; 20];
    let books = vec![(budget(Quantity::Tokens, limit, window), open(path))];
    Client {
        ledger: Ledger::open(books, owner, Box::new(clock.clone()), false),
        owner,
        held: Vec::new(),
        lost: 0,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// After every step of every interleaving: what was spent within the last window, by the model's exact account, and what is
    /// reserved are together within the limit; and the file says neither less spent nor other reservations than the model.
    #[test]
    fn no_interleaving_overruns(steps in prop::collection::vec(step(), 1..120), limit in 1..200u64, windowed in any::<bool>()) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("book");
        let clock = Hand(Rc::new(Cell::new(0)));
        let window = windowed.then_some(1000u64);
        let mut next = 4u8;
        let mut clients: Vec<Client> = (0..4).map(|n| client(&path, n, limit, window, &clock)).collect();
        let mut spent: Vec<(u64, u64)> = Vec::new();
        for step in steps {
            match step {
                Step::Wait { ms } => clock.0.set(clock.0.get() + ms),
                Step::Reserve { client, amount } => {
                    let c = &mut clients[client];
                    if let Ok(r) = c.ledger.reserve(&tokens(amount), |_| Some(KEY)) {
                        c.held.push((r, amount));
                    }
                }
                Step::Extend { which, amount } => {
                    let c = &mut clients[which % 4];
                    if let Some((r, held)) = c.held.last_mut()
                        && c.ledger.extend(r, &tokens(amount)).is_ok()
                    {
                        *held += amount;
                    }
                }
                Step::Settle { which, part } => {
                    let c = &mut clients[which % 4];
                    if !c.held.is_empty() {
                        let (r, amount) = c.held.swap_remove(which % c.held.len());
                        let used = amount * part / 100;
                        c.ledger.settle(r, &tokens(used)).unwrap();
                        spent.push((clock.0.get(), used));
                    }
                }
                Step::Drop { which } => {
                    let c = &mut clients[which % 4];
                    c.lost += c.held.pop().map_or(0, |(_, amount)| amount);
                }
                Step::Die { client: dead } => {
                    let gone = std::mem::replace(&mut clients[dead], client(&path, next, limit, window, &clock));
                    next += 1;
                    let held: u64 = gone.lost + gone.held.iter().map(|(_, n)| n).sum::<u64>();
                    let owner = gone.owner;
                    drop(gone);
                    let folded = clients[dead].ledger.fold(&owner).unwrap();
                    prop_assert_eq!(folded[0], held);
                    prop_assert_eq!(clients[dead].ledger.fold(&owner).unwrap()[0], 0);
                    spent.push((clock.0.get(), held));
                }
            }
            let reserved: u64 = clients.iter().map(|c| c.lost + c.held.iter().map(|(_, n)| n).sum::<u64>()).sum();
            let now = clock.0.get();
            let within: u64 = spent.iter().filter(|(t, _)| window.is_none_or(|w| now - t < w)).map(|(_, n)| n).sum();
            prop_assert!(within + reserved <= limit, "{within} + {reserved} > {limit}");
            if let Some(line) = clients[0].ledger.report().unwrap().first() {
                prop_assert_eq!(line.reserved, reserved);
                prop_assert!(line.spent >= within && line.spent + line.reserved <= limit);
            }
        }
        let all: u64 = spent.iter().map(|(_, n)| n).sum();
        if window.is_none() && let Some(line) = clients[0].ledger.report().unwrap().first() {
            prop_assert_eq!(line.spent, all);
        }
    }
}

/// One request in an unending attack: reserves a hundred, uses fewer.
fn attack(ledger: &mut Ledger, random: &mut u64) -> Option<u64> {
    *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    match ledger.reserve(&tokens(100), |_| Some(KEY)) {
        Ok(held) => {
            let used = (*random >> 33) % 101;
            ledger.settle(held, &tokens(used)).unwrap();
            Some(used)
        }
        Err(Unreserved::Exceeded(_)) => None,
        Err(e) => panic!("{e}"),
    }
}

#[test]
fn two_hundred_at_once_get_no_more_than_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("book");
    let (limit, used) = (100_000, AtomicU64::new(0));
    std::thread::scope(|scope| {
        for n in 0..200u8 {
            let (path, used) = (&path, &used);
            scope.spawn(move || {
                let clock = Box::new(SystemClock::new().unwrap());
                let books = vec![(budget(Quantity::Tokens, limit, None), open(path))];
                let mut ledger = Ledger::open(books, [n; 20], clock, false);
                let mut random = u64::from(n);
                while let Some(n) = attack(&mut ledger, &mut random) {
                    used.fetch_add(n, Ordering::Relaxed);
                }
            });
        }
    });
    let used = used.into_inner();
    let clock = Box::new(SystemClock::new().unwrap());
    let mut ledger = Ledger::open(
        vec![(budget(Quantity::Tokens, limit, None), open(&path))],
        [250; 20],
        clock,
        false,
    );
    let line = &ledger.report().unwrap()[0];
    assert_eq!(
        (line.spent, line.reserved, line.overrun, line.unsettled),
        (used, 0, 0, 0)
    );
    // All of them got something, and the last of it was not left lying.
    assert!(used <= limit && used > limit - 20_100, "{used}");
}

/// What a worker process does, told by its environment: it says what it used before the next request.
#[test]
fn worker() {
    let Ok(path) = std::env::var("QILA_BUDGET_WORKER") else {
        return;
    };
    let number: u8 = std::env::var("QILA_BUDGET_NUMBER").unwrap().parse().unwrap();
    let books = vec![(budget(Quantity::Tokens, 200_000, None), open(Path::new(&path)))];
    let mut ledger = Ledger::open(books, [number; 20], Box::new(SystemClock::new().unwrap()), false);
    let mut random = u64::from(number);
    let mut out = std::io::stdout();
    while let Some(n) = attack(&mut ledger, &mut random) {
        writeln!(out, "used {n}").unwrap();
    }
    writeln!(out, "done").unwrap();
}

fn start(path: &Path, number: u8) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "worker", "--nocapture", "--test-threads=1"])
        .env("QILA_BUDGET_WORKER", path)
        .env("QILA_BUDGET_NUMBER", number.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn said(child: &mut std::process::Child) -> u64 {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines
        .map_while(Result::ok)
        .filter_map(|l| l.strip_prefix("used ")?.parse::<u64>().ok())
        .sum()
}

#[test]
fn processes_that_are_killed_lose_nothing_and_count_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("book");
    let mut children: Vec<_> = (0..24u8).map(|n| start(&path, n)).collect();
    // Half of them are killed at moments that nobody chose.
    for (n, child) in children.iter_mut().enumerate().filter(|(n, _)| n % 2 == 0) {
        let mut random = [0u8; 1];
        getrandom::fill(&mut random).unwrap();
        std::thread::sleep(std::time::Duration::from_micros(
            u64::from(random[0]) * 60 + n as u64,
        ));
        child.kill().unwrap();
    }
    let known: u64 = children.iter_mut().map(said).sum();
    for child in &mut children {
        child.wait().unwrap();
    }
    let clock = Box::new(SystemClock::new().unwrap());
    let mut ledger = Ledger::open(
        vec![(budget(Quantity::Tokens, 200_000, None), open(&path))],
        [250; 20],
        clock,
        false,
    );
    let before = ledger.report().unwrap().remove(0);
    // What a killed one had used but not yet said is at most one request each.
    assert!(
        before.spent >= known && before.spent <= known + 12 * 100,
        "{before:?} {known}"
    );
    assert!(
        before.reserved <= 12 * 100 && before.spent + before.reserved <= 200_000,
        "{before:?}"
    );
    let folded: u64 = (0..24u8).map(|n| ledger.fold(&[n; 20]).unwrap()[0]).sum();
    let after = ledger.report().unwrap().remove(0);
    assert_eq!(folded, before.reserved);
    assert_eq!(
        (after.spent, after.reserved, after.unsettled),
        (before.spent + folded, 0, folded)
    );
    assert!(after.spent > 200_000 - 100 * 25, "{after:?}");
}

#[test]
fn one_budget_without_room_leaves_all_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let books = vec![
        (budget(Quantity::Tokens, 100, None), open(&dir.path().join("a"))),
        (budget(Quantity::Money, 10, None), open(&dir.path().join("b"))),
        (budget(Quantity::Requests, 1, None), open(&dir.path().join("c"))),
    ];
    let mut ledger = Ledger::open(books, [1; 20], Box::new(SystemClock::new().unwrap()), true);
    let claim = |micros| Claim {
        tokens: 50,
        micros,
        requests: 1,
        bytes: 0,
    };
    let Err(Unreserved::Exceeded(e)) = ledger.reserve(&claim(11), |_| Some(KEY)) else {
        panic!()
    };
    assert_eq!((e.budget, e.limit, e.spent, e.asked), (1, 10, 0, 11));
    assert!(ledger.report().unwrap().iter().all(|l| l.reserved == 0));
    let held = ledger.reserve(&claim(10), |_| Some(KEY)).unwrap();
    // More than was reserved is written down as it was, and nothing more is given out.
    ledger
        .settle(
            held,
            &Claim {
                tokens: 170,
                micros: 1,
                requests: 1,
                bytes: 0,
            },
        )
        .unwrap();
    let lines = ledger.report().unwrap();
    assert_eq!((lines[0].spent, lines[0].overrun), (170, 120));
    let Err(Unreserved::Exceeded(e)) = ledger.reserve(&Claim::default(), |i| (i == 0).then_some(KEY)) else {
        panic!()
    };
    assert_eq!(e.budget, 0);
}
