//! The fuzz target over messages and mutations of them, on every test run.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside a test function"
)]
use qila_wire::{Accounting, Landlock, Limit, LimitKind, Order, Reach, Report, Size, Start, encode};

#[path = "../../../fuzz/mutate.rs"]
mod mutate;

#[test]
fn any_packet_is_a_message_or_an_error() {
    let start = Start {
        argv: vec![b"sh".to_vec(), b"-c".to_vec(), b"true".to_vec()],
        env: vec![b"PATH=/bin".to_vec()],
        cwd: b"/work".to_vec(),
        limits: vec![Limit {
            what: LimitKind::Processes,
            value: 512,
        }],
        landlock: Landlock {
            abi: 6,
            paths: vec![(b"/usr".to_vec(), Reach::Read)],
            connect: Some(vec![443]),
        },
        filter: vec![6, 0, 0, 0, 0, 0, 0xff, 0x7f],
        cpus: vec![0, 1],
        terminal: Some(Size { rows: 24, cols: 80 }),
        accounting: Some(Accounting {
            memory: 1 << 31,
            every_ms: 20,
            mounts: vec![b"/tmp".to_vec()],
        }),
    };
    let failed = Report::Failed {
        step: "mount".into(),
        errno: 1,
    };
    let ended = Report::Ended {
        code: None,
        signal: Some(9),
        cpu_ms: 7,
        peak_memory: 1 << 20,
    };
    let seeds = [
        encode(&start).unwrap(),
        encode(&Order::Signal(15)).unwrap(),
        encode(&failed).unwrap(),
        encode(&ended).unwrap(),
    ];
    // Lengths: the largest of one byte, of five, and one that does not fit.
    let words: &[&[u8]] = &[
        b"\x7f",
        b"\xff\xff\xff\xff\x0f",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    ];
    mutate::run("wire", &seeds, words, 5000, qila_wire::fuzz);
}
