//! What is appended comes back, from one process and from many.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]
mod common;
use common::*;
use qila_evidence::{Log, LogError, Reader, Writer, verify};
use qila_types::EventKind;
use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

#[test]
fn events_come_back_in_order_and_verify() {
    let place = Place::new();
    let mut log = place.open();
    let done = log.append(&[event(0), event(1)]).unwrap();
    assert_eq!((done.first_index, done.size), (1, 3));
    let first = log.checkpoint().to_owned();
    let done = log.append(&(2..300).map(event).collect::<Vec<_>>()).unwrap();
    assert_eq!((done.first_index, done.size, log.size()), (3, 301, 301));
    let key = log.public_key();
    drop(log);

    let mut log = place.open();
    assert_eq!(log.size(), 301);
    log.append(&[event(300)]).unwrap();
    assert_eq!(log.append(&[]).unwrap().size, 302);
    assert_eq!(numbers(&place), (0..=300).collect::<Vec<_>>());
    assert!(matches!(place.kinds()[0], EventKind::LogOpened { .. }));
    let only: Vec<_> = Reader::open(fd(place.path()).as_fd())
        .unwrap()
        .only(run(1))
        .map(Result::unwrap)
        .collect();
    assert_eq!(only.len(), 100);
    assert!(only.iter().all(|e| e.event().unwrap().run == Some(run(1))));

    let report = verify(fd(place.path()).as_fd(), Some(&first), Some(&key)).unwrap();
    assert!(report.intact(), "{report:?}");
    assert_eq!((report.records, report.proved, report.checkpoints), (302, 302, 4));
    assert_eq!(report.checkpoint.as_deref(), Some(log.checkpoint()));
    for name in ["key", "log", "head", "lock"] {
        let mode = std::fs::metadata(place.file(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn several_logs_appending_at_once_lose_nothing() {
    let place = Place::new();
    std::thread::scope(|scope| {
        for t in 0..4 {
            let place = &place;
            scope.spawn(move || {
                let mut log = place.open();
                for i in 0..50 {
                    if i % 10 == 9 {
                        log = place.open();
                    }
                    let n = t * 1000 + i * 2;
                    let done = log.append(&[event(n), event(n + 1)]).unwrap();
                    assert!(done.first_index + 2 <= done.size);
                }
            });
        }
    });
    let numbers = numbers(&place);
    assert_eq!(numbers.len(), 400);
    for pair in numbers.chunks(2) {
        assert_eq!(pair[0] + 1, pair[1], "the two of one append are neighbours");
    }
    for t in 0..4 {
        let of_one: Vec<_> = numbers.iter().filter(|n| *n / 1000 == t).collect();
        assert!(of_one.is_sorted());
    }
    let report = place.verify();
    assert!(report.intact() && report.noted.is_empty(), "{report:?}");
    assert_eq!(report.proved, 401);
}

#[test]
fn tickets_share_commits_and_name_their_records() {
    let place = Place::new();
    let writer = Writer::start(place.open()).unwrap();
    std::thread::scope(|scope| {
        for t in 0..8 {
            let (writer, place) = (&writer, &place);
            scope.spawn(move || {
                for i in 0..40 {
                    let n = t * 100 + i;
                    let index = writer.durable(&event(n)).unwrap().wait().unwrap();
                    if i == 20 {
                        let entry = &place.entries()[index as usize];
                        assert_eq!((entry.index, entry.event()), (index, Some(event(n))));
                    }
                }
            });
        }
    });
    let tickets: Vec<_> = (1000..1500).map(|n| writer.durable(&event(n)).unwrap()).collect();
    (2000..2100).for_each(|n| writer.soon(&event(n)).unwrap());
    for ticket in tickets {
        ticket.wait().unwrap();
    }
    writer.finish().unwrap();
    let all: BTreeSet<u64> = numbers(&place).into_iter().collect();
    assert_eq!(all.len(), 320 + 500 + 100);
    let report = place.verify();
    assert!(report.intact(), "{report:?}");
    assert!(report.checkpoints < report.records, "commits are shared");
}

#[test]
fn a_flood_of_events_nobody_waits_for_is_bounded_and_its_loss_recorded() {
    let place = Place::new();
    let writer = Writer::start(place.open()).unwrap();
    // Another process that holds the lock for a while: nothing is committed meanwhile.
    let lock = fd(&place.file("lock"));
    lock.lock().unwrap();
    let mut refused = 0;
    for n in 0..3 * qila_evidence::QUEUE as u64 {
        refused += u64::from(writer.soon(&event(n)).is_err());
        if refused > 10 {
            break;
        }
    }
    assert!(refused > 10, "the queue has an end");
    lock.unlock().unwrap();
    writer.finish().unwrap();
    let lost: u64 = place
        .kinds()
        .iter()
        .map(|k| {
            if let EventKind::Gap { lost, .. } = k {
                *lost
            } else {
                0
            }
        })
        .sum();
    assert_eq!(lost, refused);
    assert!(place.verify().intact());
}

#[test]
fn a_ticket_can_be_awaited() {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let place = Place::new();
    let writer = Writer::start(place.open()).unwrap();
    let mut ticket = std::pin::pin!(writer.durable(&event(7)).unwrap());
    let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let index = loop {
        match ticket.as_mut().poll(&mut context) {
            std::task::Poll::Ready(done) => break done.unwrap(),
            std::task::Poll::Pending => std::thread::park(),
        }
    };
    assert_eq!(index, 1);
    assert_eq!(numbers(&place), [7]);
}

#[test]
fn a_follower_sees_what_is_appended_later() {
    let place = Place::new();
    let mut reader = Reader::open(fd(place.path()).as_fd()).unwrap();
    assert!(reader.next().is_none());
    let mut log = place.open();
    assert_eq!(reader.next().unwrap().unwrap().index, 0);
    assert!(reader.next().is_none());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..20 {
                log.append(&[event(n)]).unwrap();
            }
        });
        for n in 0..20 {
            let entry = reader
                .follow(Duration::from_millis(1), &|| false)
                .unwrap()
                .unwrap();
            assert_eq!(entry.event(), Some(event(n)));
        }
    });
    assert_eq!(reader.follow(Duration::from_millis(1), &|| true).unwrap(), None);
}

#[test]
fn more_than_one_commit_holds_is_split() {
    let place = Place::new();
    let mut big = event(0);
    if let EventKind::Decision(d) = &mut big.kind {
        d.reason = "x".repeat(60_000);
    }
    let done = place.open().append(&vec![big; 100]).unwrap();
    assert_eq!(done.size, 101);
    let report = place.verify();
    assert!(report.intact());
    assert_eq!(report.checkpoints, 3);
}

#[test]
fn a_place_open_to_others_and_a_lost_key_are_refused() {
    let place = Place::new();
    place.open().append(&[event(0)]).unwrap();
    let open = || Log::open(fd(place.path()).as_fd()).map(drop);
    let chmod = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    chmod(place.path(), 0o777);
    assert!(matches!(open(), Err(LogError::Insecure { .. })));
    chmod(place.path(), 0o700);
    chmod(&place.file("key"), 0o644);
    assert!(matches!(open(), Err(LogError::Insecure { .. })));
    chmod(&place.file("key"), 0o600);
    open().unwrap();
    let key = std::fs::read(place.file("key")).unwrap();
    std::fs::remove_file(place.file("key")).unwrap();
    assert!(matches!(open(), Err(LogError::KeyMissing)));
    std::os::unix::fs::symlink("/dev/null", place.file("key")).unwrap();
    assert!(open().is_err());
    std::fs::remove_file(place.file("key")).unwrap();
    let mut half = key.clone();
    half.truncate(key.len() / 2);
    std::fs::write(place.file("key"), half).unwrap();
    chmod(&place.file("key"), 0o600);
    assert!(matches!(open(), Err(LogError::Key { .. })));
}
