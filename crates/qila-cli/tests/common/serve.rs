//! `qila serve` that runs, and where.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a failure here is the test's"
)]
use crate::common::Place;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

/// Starts it and waits until it serves: what it prints is still to be read, and the URL that it said.
pub fn start(place: &Place, args: &[&str]) -> (Child, String) {
    let mut child = place
        .qila(&[&["serve"], args].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut seen = Vec::new();
    let url = loop {
        let Some(Ok(line)) = lines.next() else {
            panic!("it did not start: {seen:?}")
        };
        match line.split_once("serving at ") {
            Some((_, url)) => break url.to_owned(),
            None => seen.push(line),
        }
    };
    // Read to the end, or it would wait for us.
    std::thread::spawn(move || lines.for_each(drop));
    (child, url)
}
