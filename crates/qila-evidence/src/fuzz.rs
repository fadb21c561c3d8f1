//! Any bytes are a log, a head, a checkpoint or a key, or an error: the entry of the fuzzer.
use crate::checker::Checker;
use crate::frame::{self, Parsed};
use crate::head;
use crate::leaf;
use crate::note::{Key, VerifierKey};
use crate::report::Witness;

/// Feeds bytes to every reader of this crate; panics where one of them would.
pub fn fuzz(bytes: &[u8]) {
    let key = Key::from_seed(&[7; 32]);
    let mut checker = Checker::new(key.public());
    checker.watch(
        Witness::Head,
        head::decode(bytes, key.public()).map(|head| head.checkpoint),
    );
    let mut traces = crate::Traces::default();
    let mut rest = bytes;
    let mut at = 0;
    while !rest.is_empty() {
        let length = match frame::parse(rest) {
            Parsed::Whole(frame) => {
                if let Some(event) = leaf::decode(frame.payload) {
                    let _ = crate::ocsf(&event);
                    traces.add(at, &event);
                }
                checker.frame(at, &frame);
                frame.length()
            }
            Parsed::Damaged(_, length) => {
                checker.damage(at, length as u64, true);
                length
            }
            Parsed::Need(_) => {
                checker.damage(at, rest.len() as u64, false);
                rest.len()
            }
            Parsed::Nonsense => {
                checker.damage(at, 1, true);
                1
            }
        };
        at += length as u64;
        rest = rest.get(length..).unwrap_or_default();
    }
    let _ = traces.document();
    let report = checker.finish(bytes.len() as u64);
    report
        .findings
        .iter()
        .for_each(|finding| drop(finding.to_string()));
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let _ = key.public().open(text);
    let _ = Key::parse_secret(text);
    if let Ok(other) = VerifierKey::parse(text) {
        assert_eq!(VerifierKey::parse(&other.to_string()).as_ref(), Ok(&other));
    }
    // As the reader itself makes them, so that the fuzzer need not guess a checksum.
    let mut framed = Vec::new();
    frame::put(
        &mut framed,
        frame::Kind::Checkpoint,
        bytes.len() as u64,
        bytes.get(..4096).unwrap_or(bytes),
    );
    if let Parsed::Whole(frame) = frame::parse(&framed) {
        Checker::new(key.public()).frame(0, &frame);
    }
}
