//! The fuzz targets without a fuzzer: every seed of `fuzz/seeds`, and so many mutations of them, the same on each run.
//!
//! Included by the `no_panic` test of each crate that reads hostile bytes, so that `cargo test` on the stable compiler tries
//! what `cargo xtask fuzz` tries for longer.
use std::path::Path;

/// Largest input that a mutation makes, in bytes.
const LARGEST: usize = 64 * 1024;

/// Feeds `check` with the committed seeds of a target, with `more` seeds, and with `rounds` mutations of both. `words` are
/// pieces that mean something to the reader.
pub fn run(target: &str, more: &[Vec<u8>], words: &[&[u8]], rounds: u32, check: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/seeds")
        .join(target);
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let mut seeds: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    assert!(!seeds.is_empty(), "no seeds in {}", folder.display());
    seeds.extend_from_slice(more);
    seeds.push(Vec::new());
    for seed in &seeds {
        watched(seed, &check);
    }
    let mut random = Random(target.bytes().fold(1u64, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u64::from(byte))
    }));
    for _ in 0..rounds {
        let mut bytes = seeds[random.below(seeds.len())].clone();
        for _ in 0..=random.below(4) {
            mutate(&mut bytes, &mut random, &seeds, words);
        }
        bytes.truncate(LARGEST);
        watched(&bytes, &check);
    }
}

/// Shows the input of a check that fails: as text that can be pasted into a test.
fn watched(bytes: &[u8], check: impl Fn(&[u8])) {
    struct Shown<'a>(&'a [u8]);
    impl Drop for Shown<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                println!("the input was b\"{}\"", self.0.escape_ascii());
            }
        }
    }
    let shown = Shown(bytes);
    check(shown.0);
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random, seeds: &[Vec<u8>], words: &[&[u8]]) {
    let at = random.below(bytes.len() + 1);
    let end = (at + 1 + random.below(32)).min(bytes.len());
    match random.below(9) {
        0 | 1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        2 if at < bytes.len() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff, b'\n', b'\r', b'"'][random.below(8)],
        3 => bytes.insert(at, random.below(256) as u8),
        4 => drop(bytes.drain(at..end)),
        5 => {
            let copy = bytes[at..end].to_vec();
            drop(bytes.splice(at..at, copy));
        }
        6 => {
            let other = &seeds[random.below(seeds.len())];
            bytes.truncate(at);
            bytes.extend_from_slice(&other[random.below(other.len() + 1)..]);
        }
        7 => bytes.truncate(at),
        _ if !words.is_empty() => {
            let word = words[random.below(words.len())];
            // In place of something, or between.
            let end = if random.below(2) == 0 { at } else { end };
            drop(bytes.splice(at..end, word.iter().copied()));
        }
        _ => bytes.push(random.below(256) as u8),
    }
}

/// A linear congruential generator: good enough to choose, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}
