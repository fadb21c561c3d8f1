//! Each kind of tampering is named, with the record and the place where it was first seen.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]
mod common;
use common::*;
use qila_evidence::{Finding, Log, LogError, Witness, verify};
use qila_types::EventKind;
use sha2::{Digest, Sha256};
use std::os::fd::AsFd;

/// Five commits of one record each after the first, so that records 1 to 5 have checkpoints of their own.
fn five() -> Place {
    let place = Place::new();
    let mut log = place.open();
    (0..5).for_each(|n| assert_eq!(log.append(&[event(n)]).unwrap().first_index, n + 1));
    place
}

/// One commit of ten records after the first record.
fn ten() -> Place {
    let place = Place::new();
    place
        .open()
        .append(&(0..10).map(event).collect::<Vec<_>>())
        .unwrap();
    place
}

/// Offsets and lengths of the record frames.
fn records(bytes: &[u8]) -> Vec<(usize, usize)> {
    frames(bytes)
        .into_iter()
        .filter(|f| f.0 == b'R')
        .map(|f| (f.1, f.2))
        .collect()
}

fn with(place: &Place, bytes: &[u8]) -> Place {
    let copy = place.copy();
    std::fs::write(copy.file("log"), bytes).unwrap();
    copy
}

#[test]
fn a_flip_of_any_byte_is_found_and_a_record_named() {
    let place = five();
    let bytes = place.bytes();
    let records = records(&bytes);
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 1 << (at % 8);
        let report = with(&place, &bad).verify();
        assert!(!report.intact(), "byte {at}");
        if let Some(n) = records
            .iter()
            .position(|(from, length)| (*from..from + length).contains(&at))
        {
            let named = report.findings.iter().any(|f| {
                matches!(f, Finding::Altered { record, count: 1, offset, .. }
                    if *record == n as u64 && *offset == records[n].0 as u64)
            });
            assert!(named, "byte {at} of record {n}: {report:?}");
        }
    }
}

#[test]
fn a_flip_is_found_without_head_too() {
    let place = ten();
    let bytes = place.bytes();
    let (from, length) = records(&bytes)[4];
    for at in from..from + length {
        let mut bad = bytes.clone();
        bad[at] ^= 0x10;
        let copy = with(&place, &bad);
        std::fs::remove_file(copy.file("head")).unwrap();
        let report = copy.verify();
        assert!(
            matches!(
                report.findings[..],
                [Finding::Altered {
                    record: 4,
                    count: 1,
                    ..
                }]
            ),
            "{at} {report:?}"
        );
        assert_eq!(report.proved, 1);
    }
}

#[test]
fn a_removed_record_is_named() {
    for place in [five(), ten()] {
        let bytes = place.bytes();
        let (from, length) = records(&bytes)[3];
        let mut bad = bytes.clone();
        bad.drain(from..from + length);
        let report = with(&place, &bad).verify();
        let wanted = Finding::Removed {
            record: 3,
            count: 1,
            offset: from as u64,
        };
        assert_eq!(report.findings, [wanted], "{report:?}");
        assert_eq!(
            report.findings[0].to_string(),
            format!("removed: record 3 (byte {from})")
        );
    }
}

#[test]
fn swapped_records_are_named() {
    let place = ten();
    let bytes = place.bytes();
    let r = records(&bytes);
    let mut bad = bytes[..r[4].0].to_vec();
    bad.extend_from_slice(&bytes[r[5].0..r[5].0 + r[5].1]);
    bad.extend_from_slice(&bytes[r[4].0..r[4].0 + r[4].1]);
    bad.extend_from_slice(&bytes[r[6].0..]);
    let report = with(&place, &bad).verify();
    let at = (r[4].0 + r[5].1) as u64;
    assert_eq!(
        report.findings,
        [Finding::Reordered {
            record: 4,
            offset: at
        }],
        "{report:?}"
    );
}

#[test]
fn an_inserted_record_is_named() {
    let place = ten();
    let bytes = place.bytes();
    let r = records(&bytes);
    let mut bad = bytes[..r[6].0].to_vec();
    bad.extend_from_slice(&bytes[r[2].0..r[2].0 + r[2].1]);
    bad.extend_from_slice(&bytes[r[6].0..]);
    let report = with(&place, &bad).verify();
    assert_eq!(
        report.findings,
        [Finding::Inserted {
            record: 2,
            offset: r[6].0 as u64
        }],
        "{report:?}"
    );
}

/// The adversary who knows the format: frames are well formed and numbered, only the tree tells.
#[test]
fn a_well_made_forgery_is_narrowed_down_to_its_commit() {
    let place = five();
    let other = Place::new();
    let mut log = other.open();
    for n in [0, 1, 99, 3, 4] {
        log.append(&[event(n)]).unwrap();
    }
    let (bytes, foreign) = (place.bytes(), other.bytes());
    let (r, f) = (records(&bytes), records(&foreign));
    let mut bad = bytes[..r[3].0].to_vec();
    bad.extend_from_slice(&foreign[f[3].0..f[3].0 + f[3].1]);
    bad.extend_from_slice(&bytes[r[3].0 + r[3].1..]);
    let copy = with(&place, &bad);
    let report = copy.verify();
    assert!(
        matches!(
            report.findings[0],
            Finding::NotSigned {
                record: 3,
                count: 1,
                ..
            }
        ),
        "{report:?}"
    );
    assert_eq!(report.proved, 3);
    std::fs::remove_file(copy.file("head")).unwrap();
    assert!(matches!(
        Log::open(fd(copy.path()).as_fd()),
        Err(LogError::Corrupt { .. })
    ));
    assert_eq!(copy.bytes(), bad, "damage that no crash makes is left as it is");
}

/// A checkpoint over the right root with a signature by nobody, its frame made well.
#[test]
fn a_forged_signature_is_named() {
    let place = five();
    let bytes = place.bytes();
    for n in [4, 10] {
        let (kind, from, length) = frames(&bytes)[n - 1];
        assert_eq!(kind, b'C');
        let mut bad = bytes.clone();
        // The last character of the base64 before its padding and the newline carries bits of the signature.
        let at = from + length - 10;
        bad[at] = if bad[at] == b'A' { b'B' } else { b'A' };
        let leaf = Sha256::new()
            .chain_update([0])
            .chain_update(&bad[from + 24..from + length])
            .finalize();
        let check = Sha256::new()
            .chain_update([2])
            .chain_update(&bad[from..from + 16])
            .chain_update(leaf);
        bad[from + 16..from + 24].copy_from_slice(&check.finalize()[..8]);
        let report = with(&place, &bad).verify();
        let named =
            matches!(&report.findings[0], Finding::BadCheckpoint { offset, .. } if *offset == from as u64);
        assert!(named && report.findings.len() == 1, "{n}: {report:?}");
    }
}

#[test]
fn a_foreign_key_is_named() {
    let (place, other) = (five(), five());
    let key = other.open().public_key();
    let report = verify(fd(place.path()).as_fd(), None, Some(&key)).unwrap();
    assert!(
        matches!(report.findings[0], Finding::ForeignKey { size: 1, .. }),
        "{report:?}"
    );
    assert_eq!((report.findings.len(), report.proved), (6, 0));
    let theirs = std::fs::read(other.file("key")).unwrap();
    std::fs::write(place.file("key"), theirs).unwrap();
    std::fs::remove_file(place.file("head")).unwrap();
    let before = place.bytes();
    assert!(matches!(
        Log::open(fd(place.path()).as_fd()),
        Err(LogError::Corrupt { .. })
    ));
    assert_eq!(place.bytes(), before);
}

#[test]
fn truncation_is_found_by_head_and_by_a_kept_checkpoint() {
    let place = five();
    let kept = place.open().checkpoint().to_owned();
    let bytes = place.bytes();
    let cut = records(&bytes)[4].0;
    let copy = with(&place, &bytes[..cut]);
    let report = copy.verify();
    assert_eq!(
        report.findings,
        [Finding::Truncated {
            record: 4,
            signed: 6,
            witness: Witness::Head
        }],
        "{report:?}"
    );
    assert_eq!(
        report.findings[0].to_string(),
        "truncated: records 4 to 5 (the signed checkpoint in `head` counts 6)"
    );
    std::fs::remove_file(copy.file("head")).unwrap();
    assert!(copy.verify().intact(), "without head nothing here remembers");
    let report = verify(fd(copy.path()).as_fd(), Some(&kept), None).unwrap();
    assert_eq!(
        report.findings,
        [Finding::Truncated {
            record: 4,
            signed: 6,
            witness: Witness::Trusted
        }]
    );

    // A log that goes on differently is told from the kept checkpoint as well.
    copy.open().append(&[event(70), event(71)]).unwrap();
    assert!(copy.verify().intact());
    let report = verify(fd(copy.path()).as_fd(), Some(&kept), None).unwrap();
    assert_eq!(
        report.findings,
        [Finding::Rewritten {
            signed: 6,
            witness: Witness::Trusted
        }]
    );
    let nonsense = verify(fd(copy.path()).as_fd(), Some("qila\n1\n"), None);
    assert!(matches!(nonsense, Err(LogError::Trusted { .. })));
}

#[test]
fn a_truncated_log_goes_on_and_says_so_for_ever() {
    let place = five();
    let bytes = place.bytes();
    std::fs::write(place.file("log"), &bytes[..records(&bytes)[3].0 + 10]).unwrap();
    place.open().append(&[event(50)]).unwrap();
    let kinds = place.kinds();
    assert!(
        matches!(kinds[3], EventKind::LogRecovered { dropped_bytes: 10 }),
        "{kinds:?}"
    );
    let EventKind::Gap { lost: 3, reason } = &kinds[4] else {
        panic!("{kinds:?}")
    };
    assert!(
        reason.contains("\n6\n"),
        "the signed checkpoint is in it: {reason}"
    );
    let report = place.verify();
    assert_eq!(
        report.findings,
        [Finding::TruncatedBefore { record: 4, lost: 3 }],
        "{report:?}"
    );
    assert_eq!(report.proved, 6);
    assert_eq!(report.noted.len(), 1);
}

#[test]
fn a_log_that_is_deleted_or_exchanged_under_an_open_writer_is_noticed() {
    let place = five();
    let mut log = place.open();
    std::fs::remove_file(place.file("log")).unwrap();
    log.append(&[event(60)]).unwrap();
    assert_eq!(numbers(&place), [60]);
    assert!(matches!(
        place.verify().findings[..],
        [Finding::TruncatedBefore { lost: 6, .. }]
    ));

    let place = five();
    let mut log = place.open();
    let all = place.bytes();
    std::fs::write(place.file("log"), &all[..frames(&all)[1].1 + frames(&all)[1].2]).unwrap();
    std::fs::remove_file(place.file("head")).unwrap();
    log.append(&[event(61)]).unwrap();
    assert!(matches!(
        place.verify().findings[..],
        [Finding::TruncatedBefore { lost: 5, .. }]
    ));
}

/// A bit rots in the last checkpoint: the records are proved by the one in `head`, and stay.
#[test]
fn a_damaged_last_checkpoint_costs_no_record() {
    let place = five();
    let bytes = place.bytes();
    let (_, from, length) = *frames(&bytes).last().unwrap();
    for end in [None, Some(from), Some(from + 30)] {
        let mut bad = bytes.clone();
        match end {
            Some(end) => bad.truncate(end),
            None => bad[from + length / 2] ^= 1,
        }
        let copy = with(&place, &bad);
        let report = copy.verify();
        assert!(
            matches!(report.findings[..], [Finding::Damaged { record: 6, .. }]),
            "{report:?}"
        );
        assert_eq!(report.proved, 6);
        copy.open().append(&[event(5)]).unwrap();
        assert_eq!(numbers(&copy), [0, 1, 2, 3, 4, 5]);
        let report = copy.verify();
        assert!(report.intact(), "{report:?}");
    }
}

#[test]
fn damage_amid_a_log_without_head_is_left_as_it_is() {
    let place = five();
    std::fs::remove_file(place.file("head")).unwrap();
    let mut bytes = place.bytes();
    let at = records(&bytes)[2].0 + 40;
    bytes[at] ^= 1;
    let copy = with(&place, &bytes);
    assert!(matches!(
        Log::open(fd(copy.path()).as_fd()),
        Err(LogError::Corrupt { index: 2, .. })
    ));
    assert_eq!(copy.bytes(), bytes);

    // In the last commit it may be an unfinished one: cut, said, and kept beside the log.
    let mut bytes = place.bytes();
    let at = records(&bytes)[5].0;
    bytes[at + 40] ^= 1;
    let copy = with(&place, &bytes);
    copy.open().append(&[event(7)]).unwrap();
    assert_eq!(numbers(&copy), [0, 1, 2, 3, 7]);
    assert_eq!(
        std::fs::read(copy.file(&format!("cut-{at}"))).unwrap(),
        bytes[at..]
    );
    assert_eq!(copy.verify().noted.len(), 2);
}

#[test]
fn a_hint_that_is_missing_wrong_or_old_costs_nothing_but_time() {
    let place = five();
    let old = std::fs::read(place.file("head")).unwrap();
    place.open().append(&[event(5)]).unwrap();
    let good = std::fs::read(place.file("head")).unwrap();
    let mut torn = good.clone();
    torn[200..].fill(0);
    let mut moved = String::from_utf8(good.clone()).unwrap();
    let at = moved.lines().nth(1).unwrap().to_owned();
    moved = moved.replacen(&at, "77", 1);
    for head in [
        Some(old),
        Some(vec![]),
        Some(torn),
        Some(vec![0xFF; 9000]),
        Some(moved.into_bytes()),
        None,
    ] {
        let copy = place.copy();
        match head {
            Some(bytes) => std::fs::write(copy.file("head"), bytes).unwrap(),
            None => std::fs::remove_file(copy.file("head")).unwrap(),
        }
        assert!(copy.verify().intact());
        assert_eq!(copy.open().append(&[event(6)]).unwrap().first_index, 7);
        assert_eq!(numbers(&copy), (0..=6).collect::<Vec<_>>());
        let report = copy.verify();
        assert!(report.intact() && report.noted.is_empty(), "{report:?}");
    }
}
