//! What leaves the log for others to read.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]
mod common;
use common::*;
use qila_evidence::{LogError, VerifierKey, export_tiles, ocsf};
use qila_types::{Access, Decision, Event, EventKind, Outcome, StopReason, Tier, Usage};
use sha2::{Digest, Sha256};
use std::os::fd::AsFd;
use std::path::Path;

fn node(left: &[u8], right: &[u8]) -> Vec<u8> {
    Sha256::new()
        .chain_update([1])
        .chain_update(left)
        .chain_update(right)
        .finalize()
        .to_vec()
}

/// The root over hashes by the definition of RFC 6962.
fn root(hashes: &[Vec<u8>]) -> Vec<u8> {
    match hashes {
        [] => Sha256::digest([]).to_vec(),
        [one] => one.clone(),
        many => {
            let (left, right) = many.split_at(many.len().next_power_of_two() / 2);
            node(&root(left), &root(right))
        }
    }
}

fn hashes(path: &Path) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert_eq!(bytes.len() % 32, 0);
    bytes.chunks(32).map(<[u8]>::to_vec).collect()
}

/// Reads the tiles as a stranger would, knowing the specification only.
#[test]
fn tiles_hold_every_record_and_give_the_signed_root() {
    let place = Place::new();
    let mut log = place.open();
    let total = 256 * 5 + 70;
    log.append(&(1..total).map(event).collect::<Vec<_>>()).unwrap();
    let bytes = place.bytes();
    std::fs::write(place.file("log"), [bytes, vec![0xFE; 30]].concat()).unwrap();
    let out = Place::new();
    let done = export_tiles(fd(place.path()).as_fd(), out.path()).unwrap();
    assert_eq!(
        (done.records, done.checkpoint.as_str()),
        (total, log.checkpoint())
    );
    assert_eq!((done.key, done.files), (log.public_key(), 6 + 6 + 1));
    let checkpoint = VerifierKey::parse(&log.public_key())
        .unwrap()
        .open(&done.checkpoint)
        .unwrap();
    assert_eq!(
        std::fs::read_to_string(out.file("checkpoint")).unwrap(),
        done.checkpoint
    );

    let mut leaves = Vec::new();
    let mut entries = Vec::new();
    for tile in 0..6 {
        let name = if tile < 5 {
            format!("{tile:03}")
        } else {
            format!("{tile:03}.p/70")
        };
        leaves.extend(hashes(&out.file("tile/0").join(&name)));
        let bundle = std::fs::read(out.file("tile/entries").join(&name)).unwrap();
        let mut rest = &bundle[..];
        while let [a, b, after @ ..] = rest {
            let (entry, next) = after.split_at(usize::from(u16::from_be_bytes([*a, *b])));
            entries.push(entry.to_vec());
            rest = next;
        }
    }
    assert_eq!(leaves.len() as u64, total);
    let of_entries: Vec<_> = entries
        .iter()
        .map(|e| {
            Sha256::new()
                .chain_update([0])
                .chain_update(e)
                .finalize()
                .to_vec()
        })
        .collect();
    assert_eq!(of_entries, leaves);
    assert_eq!(root(&leaves), checkpoint.root);
    let upper: Vec<_> = leaves.chunks(256).take(5).map(root).collect();
    assert_eq!(hashes(&out.file("tile/1/000.p/5")), upper);
    let read: Vec<_> = place.entries().into_iter().map(|e| e.json).collect();
    assert_eq!(entries, read);

    let again = export_tiles(fd(place.path()).as_fd(), out.path());
    assert!(
        matches!(again, Err(LogError::Io { .. })),
        "nothing is written over"
    );
}

#[test]
fn a_log_that_was_changed_is_not_exported() {
    let place = Place::new();
    place.open().append(&[event(0), event(1), event(2)]).unwrap();
    let mut bytes = place.bytes();
    let frame = frames(&bytes)[3];
    bytes.drain(frame.1..frame.1 + frame.2);
    std::fs::write(place.file("log"), bytes).unwrap();
    let out = Place::new();
    assert!(matches!(
        export_tiles(fd(place.path()).as_fd(), out.path()),
        Err(LogError::Corrupt { .. })
    ));
    assert!(!out.file("checkpoint").exists());
}

fn decision(access: Access, allowed: bool) -> EventKind {
    let rule = allowed.then(|| "network.allow[0]".to_owned());
    EventKind::Decision(Decision {
        access,
        allowed,
        rule,
        credential: None,
        reason: "why".into(),
    })
}

#[test]
fn every_event_has_its_ocsf_class() {
    let http = |method: &str| Access::Http {
        host: "api.example.org".into(),
        port: 443,
        method: method.into(),
        path: "/v1".into(),
    };
    let connect = || Access::Connect {
        host: "192.0.2.7".into(),
        port: 443,
    };
    let dns = || Access::Dns {
        name: "x.example".into(),
        qtype: "A".into(),
    };
    let outcome = |code, reason| Outcome {
        code,
        signal: None,
        reason,
    };
    let limit = || StopReason::Limit {
        clause: "memory".into(),
        limit: "2GiB".into(),
    };
    let launch = |unenforced: &[&str]| EventKind::Launch {
        tier: Tier::Process,
        policy_digest: "p".into(),
        plan_digest: "q".into(),
        command: vec!["/usr/bin/agent".into(), "--go".into()],
        workspace: None,
        unenforced: unenforced.iter().map(ToString::to_string).collect(),
    };
    let usage = Usage::default();
    let table = [
        (EventKind::LogOpened { version: "1".into() }, 1008, 6, 1),
        (EventKind::LogRecovered { dropped_bytes: 3 }, 1008, 8, 2),
        (
            EventKind::Gap {
                lost: 3,
                reason: "full".into(),
            },
            1008,
            99,
            4,
        ),
        (launch(&[]), 1007, 1, 1),
        (launch(&["memory"]), 1007, 1, 3),
        (EventKind::Started, 1007, 1, 1),
        (
            EventKind::Refused {
                clause: "isolation".into(),
                reason: "no".into(),
            },
            6002,
            3,
            3,
        ),
        (decision(dns(), true), 4003, 1, 1),
        (decision(dns(), false), 4003, 1, 2),
        (decision(connect(), true), 4001, 1, 1),
        (decision(connect(), false), 4001, 5, 2),
        (decision(http("POST"), true), 4002, 6, 1),
        (decision(http("PATCH"), false), 4002, 9, 2),
        (decision(http("BREW"), false), 4002, 99, 2),
        (
            EventKind::LeaseCreated {
                credential: "openai".into(),
            },
            3005,
            1,
            1,
        ),
        (
            EventKind::LeaseRevoked {
                credential: "openai".into(),
            },
            3005,
            2,
            1,
        ),
        (
            EventKind::RevocationAsked {
                credentials: vec!["openai".into()],
                by_uid: 1000,
            },
            3005,
            2,
            2,
        ),
        (
            EventKind::LeaseUnrevoked {
                credential: "vault".into(),
                reason: "it does not answer".into(),
            },
            3005,
            2,
            4,
        ),
        (
            EventKind::Limit {
                clause: "cpu".into(),
                limit: "2".into(),
                stopped: false,
            },
            1007,
            99,
            2,
        ),
        (
            EventKind::Limit {
                clause: "memory".into(),
                limit: "2GiB".into(),
                stopped: true,
            },
            1007,
            2,
            3,
        ),
        (
            EventKind::Exit {
                outcome: outcome(Some(0), StopReason::Finished),
                usage,
            },
            1007,
            2,
            1,
        ),
        (
            EventKind::Exit {
                outcome: outcome(None, limit()),
                usage,
            },
            1007,
            2,
            3,
        ),
        (
            EventKind::Apply {
                paths: 2,
                digest: "d".into(),
            },
            1001,
            3,
            1,
        ),
        (
            EventKind::PolicyChanged {
                policy_digest: "d".into(),
                by_uid: 0,
            },
            6002,
            99,
            2,
        ),
        (EventKind::Discard, 1001, 4, 1),
        (EventKind::Kill { by_uid: 1000 }, 1007, 2, 2),
        (EventKind::Claimed { tenant: "t".into() }, 1007, 99, 1),
        (
            EventKind::Reclaimed {
                found: vec!["a mount".into()],
            },
            6002,
            2,
            2,
        ),
    ];
    for (kind, class, activity, severity) in table {
        let event = Event {
            time_ms: 42,
            run: Some(run(1)),
            kind,
        };
        let value = ocsf(&event);
        let number = |name: &str| {
            value[name]
                .as_u64()
                .unwrap_or_else(|| panic!("{name} of {value}"))
        };
        assert_eq!(number("class_uid"), class, "{value}");
        assert_eq!(number("activity_id"), activity, "{value}");
        assert_eq!(number("type_uid"), class * 100 + activity);
        assert_eq!(number("category_uid"), class / 1000);
        assert_eq!((number("severity_id"), number("time")), (severity, 42), "{value}");
        assert_eq!(value["metadata"]["version"], "1.8.0");
        assert_eq!(value["metadata"]["product"]["name"], "Qila");
        assert_eq!(value["metadata"]["correlation_uid"], run(1).as_str());
        assert_eq!(
            value["unmapped"],
            serde_json::to_value(&event.kind).unwrap(),
            "nothing is left out"
        );
        let needed: &[&str] = match class {
            1007 => &["process", "device", "actor"],
            1001 => &["file", "device", "actor"],
            1008 => &["log_name"],
            3005 => &["user", "privileges"],
            4001 => &["dst_endpoint", "src_endpoint", "action_id"],
            4002 => &["http_request", "dst_endpoint", "action_id"],
            4003 => &["query", "src_endpoint", "action_id"],
            _ => &["app"],
        };
        needed
            .iter()
            .for_each(|name| assert!(!value[name].is_null(), "{name} of {value}"));
    }
}
