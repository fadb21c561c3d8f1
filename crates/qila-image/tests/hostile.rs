//! Layers made to cost much, to confuse, or to bring back what was hidden.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure here is the test's"
)]
mod common;
use common::{Item, gzip, header, layout, tar};
use qila_image::{Image, ImageError, Limits, unpack, unpack_within};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const FILE: u8 = b'0';
const DIR: u8 = b'5';

fn file<'a>(path: &'a str, body: &'a [u8]) -> Item<'a> {
    (path.as_bytes(), FILE, b"", 0o644, body)
}

fn dir(path: &str) -> Item<'_> {
    (path.as_bytes(), DIR, b"", 0o755, b"")
}

fn link<'a>(path: &'a str, to: &'a str) -> Item<'a> {
    (path.as_bytes(), b'2', to.as_bytes(), 0o777, b"")
}

fn of(at: &Path, layers: &[&[Item<'_>]]) -> Result<Image, ImageError> {
    let layers: Vec<_> = layers.iter().map(|l| ("tar", tar(l))).collect();
    unpack(&layout(at, &layers), None, &at.join("images"))
}

/// Every path of an image, a directory with a slash behind it.
fn tree(image: &Image) -> Vec<String> {
    let (mut out, mut left) = (Vec::new(), vec![image.root.clone()]);
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(&dir).unwrap().flatten() {
            let path = entry.path();
            let name = path.strip_prefix(&image.root).unwrap().to_str().unwrap();
            let is_dir = entry.file_type().unwrap().is_dir();
            out.push(format!("{name}{}", if is_dir { "/" } else { "" }));
            if is_dir {
                left.push(path);
            }
        }
    }
    out.sort();
    out
}

#[track_caller]
fn refused(layers: &[(&str, Vec<u8>)], limits: &Limits, why: &str) {
    let at = tempfile::tempdir().unwrap();
    let store = at.path().join("images");
    let error = unpack_within(&layout(at.path(), layers), None, &store, limits).unwrap_err();
    assert!(error.to_string().contains(why), "{error}");
    let left = std::fs::read_dir(&store).unwrap().flatten();
    let left: Vec<_> = left.map(|e| e.file_name()).collect();
    assert_eq!(left, ["lock"], "nothing half made is left");
}

/// An entry whose path is too long for its header.
fn long(path: &str, flag: u8) -> Vec<u8> {
    let mut out = header(b"././@LongLink", b'L', b"", 0o644, path.len()).to_vec();
    out.extend(path.as_bytes());
    out.resize(out.len().next_multiple_of(512), 0);
    out.extend(header(b"cut", flag, b"", 0o644, 0));
    out
}

#[test]
fn bombs_are_refused_and_what_is_as_large_as_allowed_is_not() {
    let limits = Limits {
        bytes: 1 << 20,
        entries: 100,
        ratio: 10,
        free: 1 << 16,
        ..Limits::default()
    };
    let zeros = vec![0u8; 1 << 19];
    let flat = tar(&[file("zeros", &zeros)]);
    let zstd =
        ruzstd::encoding::compress_to_vec(flat.as_slice(), ruzstd::encoding::CompressionLevel::Fastest);
    refused(&[("tar+gzip", gzip(&flat))], &limits, "far more than its size");
    refused(&[("tar+zstd", zstd)], &limits, "far more than its size");
    // The same bytes not compressed are within the limits, and twice as many are not, whatever they replace.
    let at = tempfile::tempdir().unwrap();
    let good = layout(at.path(), &[("tar", flat.clone())]);
    assert!(unpack_within(&good, None, &at.path().join("images"), &limits).is_ok());
    let more = |n: usize| -> Vec<_> { (0..n).map(|_| ("tar", flat.clone())).collect() };
    refused(&more(3), &limits, "more than 1048576 bytes");
    // Contents of entries that are left out are counted too.
    let fifos = tar(&[(b"fifo", b'6', b"", 0o644, &zeros)]);
    let fifos: Vec<_> = (0..5).map(|_| ("tar", fifos.clone())).collect();
    refused(&fifos, &limits, "too much");
    // Entries, and directories that no entry names.
    let names: Vec<String> = (0..101).map(|n| format!("f{n}")).collect();
    let many: Vec<Item<'_>> = names.iter().map(|n| file(n, b"")).collect();
    refused(&[("tar", tar(&many))], &limits, "more than 100 entries");
    let deep = long(&format!("{}f", "d/".repeat(200)), FILE);
    refused(&[("tar", deep)], &limits, "more than 100 entries");
    let targets = tar(&[(b"l", b'1', "d/".repeat(45).as_bytes(), 0o644, b"")]);
    refused(&[("tar", targets)], &limits, "no file");
}

#[test]
fn a_layer_that_ends_within_its_limit_by_chance_is_not_cut() {
    // The limit lies between two entries, where a reader that is cut off sees an end.
    let two = tar(&[file("one", b"1"), file("two", b"2")]);
    let limits = Limits {
        ratio: 0,
        free: 1024,
        ..Limits::default()
    };
    refused(&[("tar", two)], &limits, "far more than its size");
}

#[test]
fn paths_that_are_too_long_or_too_deep_are_refused() {
    let limits = Limits::default();
    refused(&[("tar", long(&"a".repeat(5000), FILE))], &limits, "4,096");
    refused(&[("tar", long(&"a".repeat(300), FILE))], &limits, "too long");
    refused(&[("tar", long(&"d/".repeat(40_000), DIR))], &limits, "64 KiB");
    refused(&[("tar", tar(&[file("a/../../x", b"")]))], &limits, "upward");
    refused(
        &[("tar", tar(&[file("a\n\u{1b}[31m/../..", b"")]))],
        &limits,
        "a\\n\\u{1b}[31m",
    );
}

#[test]
fn whiteouts_spare_their_own_layer_in_any_order() {
    let lower: &[Item<'_>] = &[
        file("o/sub/old", b""),
        file("o/gone/old", b""),
        file("d/x", b""),
        file("d/deep/x", b""),
    ];
    let mut upper = vec![
        file(".wh.d", b""),
        file("d/y", b""),
        dir("d/"),
        dir("o/sub/"),
        file("o/.wh..wh..opq", b""),
        file("o/made/new", b""),
    ];
    for turn in 0..2 * upper.len() {
        let at = tempfile::tempdir().unwrap();
        let image = of(at.path(), &[lower, &upper]).unwrap();
        let expected = ["d/", "d/y", "o/", "o/made/", "o/made/new", "o/sub/"];
        assert_eq!(tree(&image), expected, "turn {turn}");
        if turn == upper.len() {
            upper.reverse();
        }
        upper.rotate_left(1);
    }
}

#[test]
fn whiteouts_know_a_directory_by_any_way_to_it() {
    let lower: &[Item<'_>] = &[
        file("usr/bin/a", b""),
        file("usr/lib/a", b""),
        link("bin", "usr/bin"),
    ];
    let at = tempfile::tempdir().unwrap();
    let upper = [
        file("bin/new", b""),
        file("usr/.wh..wh..opq", b""),
        file("bin/.wh.new", b""),
        file("bin/.wh..wh..opq", b""),
    ];
    let image = of(at.path(), &[lower, &upper]).unwrap();
    assert_eq!(tree(&image), ["bin", "usr/", "usr/bin/", "usr/bin/new"]);
    // The way there is hidden first: it leads nowhere, and nothing is made at its end.
    let at = tempfile::tempdir().unwrap();
    assert!(
        of(
            at.path(),
            &[lower, &[file("usr/.wh..wh..opq", b""), file("bin/new", b"")]]
        )
        .is_err()
    );
}

#[test]
fn what_replaces_something_never_writes_through_it() {
    let at = tempfile::tempdir().unwrap();
    let outside = at.path().join("outside");
    std::fs::write(&outside, "untouched").unwrap();
    let to = outside.to_str().unwrap();
    let image = of(
        at.path(),
        &[
            &[
                file("file", b"f"),
                file("dir/x", b"x"),
                file("one", b"one"),
                (b"two", b'1', b"one", 0o644, b""),
                link("out", to),
                link("way", "dir"),
            ],
            &[
                dir("file/"),
                file("file/in", b"in"),
                file("dir", b"now a file"),
                file("two", b"changed"),
                file("out", b"replaced"),
                dir("way"),
                file("twice", b"first"),
                file("twice", b"second"),
            ],
        ],
    )
    .unwrap();
    let read = |p: &str| std::fs::read_to_string(image.root.join(p)).unwrap();
    assert_eq!(std::fs::read_to_string(&outside).unwrap(), "untouched");
    assert_eq!((read("one"), read("two")), ("one".into(), "changed".into()));
    assert_eq!((read("out"), read("twice")), ("replaced".into(), "second".into()));
    assert_eq!((read("dir"), read("file/in")), ("now a file".into(), "in".into()));
    assert!(image.root.join("way").symlink_metadata().unwrap().is_dir());
}

#[test]
fn a_link_in_the_way_leads_to_nothing_outside() {
    let at = tempfile::tempdir().unwrap();
    let outside = at.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "s").unwrap();
    let to = outside.to_str().unwrap();
    // The target is not beneath the root, so the way is a dead end there.
    for last in [
        file("to/planted", b"x"),
        dir("to/planted/"),
        link("to/planted", "x"),
        (b"to/planted", b'1', b"to/secret", 0o644, b""),
        (b"stolen", b'1', b"to/secret", 0o644, b""),
        file("to/.wh.secret", b""),
        file("to/.wh..wh..opq", b""),
    ] {
        let error = of(at.path(), &[&[link("to", to)], &[last]]);
        assert!(error.is_err(), "{:?}", last.0);
        let left = std::fs::read_dir(&outside).unwrap().count();
        assert_eq!(left, 1, "{:?}", last.0);
    }
    // Through what the kernel itself makes.
    for to in ["/proc/self/cwd", "/proc/self/root", "/dev/fd/1"] {
        assert!(of(at.path(), &[&[link("to", to), file("to/planted", b"x")]]).is_err());
    }
}

#[test]
fn what_an_unpacking_that_was_cut_off_left_is_taken_away() {
    let at = tempfile::tempdir().unwrap();
    let half = at.path().join("images/unfinished/rootfs/etc");
    std::fs::create_dir_all(&half).unwrap();
    std::fs::write(half.join("planted"), "x").unwrap();
    let image = of(at.path(), &[&[file("a", b"a")]]).unwrap();
    assert!(image.fresh);
    assert_eq!(tree(&image), ["a"]);
    assert!(!at.path().join("images/unfinished").exists());
    // Found the second time, the very same directory.
    let before = image.root.metadata().unwrap().ino();
    let again = of(at.path(), &[&[file("a", b"a")]]).unwrap();
    assert!(!again.fresh);
    assert_eq!(again.root.metadata().unwrap().ino(), before);
}

#[test]
fn many_at_once_unpack_once() {
    let at = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..500).map(|n| format!("d{}/f{n}", n % 20)).collect();
    let items: Vec<Item<'_>> = names.iter().map(|n| file(n, b"contents")).collect();
    let layout = layout(at.path(), &[("tar+gzip", gzip(&tar(&items)))]);
    let store = at.path().join("images");
    let images: Vec<Image> = std::thread::scope(|s| {
        let all: Vec<_> = (0..6)
            .map(|_| s.spawn(|| unpack(&layout, None, &store).unwrap()))
            .collect();
        all.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(images.iter().filter(|i| i.fresh).count(), 1);
    assert!(images.iter().all(|i| tree(i).len() == 520));
}
