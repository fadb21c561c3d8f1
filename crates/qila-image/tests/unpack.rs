//! What comes of a layout.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: a failure here is the test's"
)]
mod common;
use common::{Item, gzip, layout, tar};
use qila_image::{Image, ImageError, unpack};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

fn of(dir: &Path, layers: &[&[Item<'_>]]) -> Result<Image, ImageError> {
    let layers: Vec<_> = layers.iter().map(|l| ("tar", tar(l))).collect();
    unpack(&layout(dir, &layers), None, &dir.join("images"))
}

fn read(image: &Image, path: &str) -> String {
    std::fs::read_to_string(image.root.join(path)).unwrap_or_else(|e| e.to_string())
}

#[test]
fn layers_are_applied_in_order_whatever_their_compression() {
    let dir = tempfile::tempdir().unwrap();
    let one = tar(&[
        (b"etc/", b'5', b"", 0o755, b""),
        (b"etc/a", b'0', b"", 0o644, b"one"),
        (b"usr/bin/", b'5', b"", 0o755, b""),
        (b"bin", b'2', b"usr/bin", 0o777, b""),
    ]);
    let two = tar(&[
        (b"./etc/a", b'0', b"", 0o600, b"two"),
        (b"bin/sh", b'0', b"", 0o755, b"shell"),
    ]);
    let three = tar(&[(b"etc/b", b'1', b"etc/a", 0o644, b"")]);
    let zstd =
        ruzstd::encoding::compress_to_vec(three.as_slice(), ruzstd::encoding::CompressionLevel::Fastest);
    let at = layout(
        dir.path(),
        &[("tar", one), ("tar+gzip", gzip(&two)), ("tar+zstd", zstd)],
    );
    let image = unpack(&at, Some("one"), &dir.path().join("images")).unwrap();
    assert!(image.fresh);
    assert_eq!(
        (read(&image, "etc/a"), read(&image, "etc/b")),
        ("two".into(), "two".into())
    );
    // Through a link of the image, as it will be from inside.
    assert_eq!(read(&image, "usr/bin/sh"), "shell");
    let again = unpack(&at, None, &dir.path().join("images")).unwrap();
    assert_eq!(
        again,
        Image {
            fresh: false,
            ..image
        }
    );
    let other = unpack(&at, Some("other"), &dir.path().join("images")).unwrap_err();
    assert!(other.to_string().contains("`other`"), "{other}");
}

#[test]
fn whiteouts_hide_what_lies_beneath_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let image = of(
        dir.path(),
        &[
            &[
                (b"a", b'0', b"", 0o644, b"a"),
                (b"d/x", b'0', b"", 0o644, b"x"),
                (b"o/x", b'0', b"", 0o644, b"x"),
            ],
            &[
                (b"o/new", b'0', b"", 0o644, b"new"),
                (b"o/.wh..wh..opq", b'0', b"", 0o644, b""),
                (b".wh.a", b'0', b"", 0o644, b""),
                (b".wh.d", b'0', b"", 0o644, b""),
                (b"d/y", b'0', b"", 0o644, b"y"),
                (b"kept", b'0', b"", 0o644, b"kept"),
                (b".wh.kept", b'0', b"", 0o644, b""),
                (b".wh...", b'0', b"", 0o644, b""),
            ],
        ],
    )
    .unwrap();
    let there = |p: &str| image.root.join(p).exists();
    assert!(!there("a") && !there("d/x") && there("d/y") && !there("o/x") && there("o/new") && there("kept"));
}

#[test]
fn nothing_reaches_out_of_the_root() {
    for (items, why) in [
        (
            &[(&b"../out"[..], b'0', &b""[..], 0o644, &b"x"[..])][..],
            "upward",
        ),
        (&[(b"a/../../out", b'0', b"", 0o644, b"x")], "upward"),
        (&[(b"l", b'1', b"../../../etc/passwd", 0o644, b"")], "upward"),
        (&[(b"l", b'1', b"/etc/passwd", 0o644, b"")], "no file"),
        (&[(b"s", b'S', b"", 0o644, b"")], "sparse"),
        (&[(b"s", b'Z', b"", 0o644, b"")], "unknown"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let error = of(dir.path(), &[items]).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        assert!(!dir.path().join("out").exists() && !dir.path().join("images/out").exists());
        // Nothing half made is left.
        let left: Vec<_> = std::fs::read_dir(dir.path().join("images"))
            .unwrap()
            .flatten()
            .map(|e| e.file_name())
            .collect();
        assert_eq!(left, ["lock"]);
    }
    // Links that lead out lead to the same path beneath the root.
    let dir = tempfile::tempdir().unwrap();
    let outside = dir.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    let target = outside.to_str().unwrap().as_bytes().to_vec();
    let image = of(
        dir.path(),
        &[
            &[
                (b"up", b'2', b"../../../../../../..", 0o777, b""),
                (b"to", b'2', &target, 0o777, b""),
            ],
            &[
                (b"up/planted", b'0', b"", 0o644, b"x"),
                (b"to/planted", b'0', b"", 0o644, b"x"),
            ],
        ],
    );
    assert!(!outside.join("planted").exists());
    if let Ok(image) = image {
        assert!(image.root.join("planted").exists());
    }
}

#[test]
fn devices_set_id_bits_and_owners_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let image = of(
        dir.path(),
        &[&[
            (b"null", b'3', b"", 0o666, b""),
            (b"fifo", b'6', b"", 0o666, b""),
            (b"su", b'0', b"", 0o6755, b"x"),
            (b"closed/", b'5', b"", 0o000, b""),
            (b"closed/f", b'0', b"", 0o000, b"x"),
        ]],
    )
    .unwrap();
    assert_eq!(image.skipped, 2);
    assert!(!image.root.join("null").exists() && !image.root.join("fifo").exists());
    let su = image.root.join("su").metadata().unwrap();
    assert_eq!(su.permissions().mode() & 0o7777, 0o755);
    assert_eq!(su.uid(), dir.path().metadata().unwrap().uid());
    assert_eq!(read(&image, "closed/f"), "x");
}

#[test]
fn a_byte_that_is_not_what_the_digest_says_is_found() {
    for which in ["layer", "manifest"] {
        let dir = tempfile::tempdir().unwrap();
        let at = layout(dir.path(), &[("tar", tar(&[(b"a", b'0', b"", 0o644, b"one")]))]);
        let blobs: Vec<_> = std::fs::read_dir(at.join("blobs/sha256"))
            .unwrap()
            .flatten()
            .map(|e| e.path())
            .collect();
        let blob = blobs
            .iter()
            .find(|b| (b.metadata().unwrap().len() > 1024) == (which == "layer"))
            .unwrap();
        let mut bytes = std::fs::read(blob).unwrap();
        let end = bytes.len() - 1;
        bytes[end] ^= 1;
        std::fs::write(blob, bytes).unwrap();
        let error = unpack(&at, None, &dir.path().join("images")).unwrap_err();
        assert!(matches!(error, ImageError::Digest { .. }), "{which}: {error}");
        assert_eq!(
            std::fs::read_dir(dir.path().join("images"))
                .map_or(0, |d| d.flatten().filter(|e| e.file_name() != "lock").count()),
            0
        );
    }
}

#[test]
fn layouts_that_are_none_are_refused() {
    let good = |dir: &Path| layout(dir, &[("tar", tar(&[]))]);
    for (file, text) in [
        ("oci-layout", "{\"imageLayoutVersion\":\"2.0\"}"),
        ("oci-layout", "{"),
        ("index.json", "[]"),
        ("index.json", "{\"manifests\":[]}"),
        (
            "index.json",
            "{\"manifests\":[{\"digest\":\"sha256:../../x\",\"size\":1}]}",
        ),
        (
            "index.json",
            "{\"manifests\":[{\"digest\":\"md5:00\",\"size\":1}]}",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let at = good(dir.path());
        std::fs::write(at.join(file), text).unwrap();
        assert!(
            unpack(&at, None, &dir.path().join("images")).is_err(),
            "{file} {text}"
        );
    }
    let dir = tempfile::tempdir().unwrap();
    let at = good(dir.path());
    std::fs::remove_file(at.join("index.json")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", at.join("index.json")).unwrap();
    assert!(unpack(&at, None, &dir.path().join("images")).is_err());
}

#[test]
fn long_names_are_read_and_broken_archives_never_panic() {
    let long = [b"d/".repeat(100), b"f".to_vec()].concat();
    let record = |path: &[u8]| {
        let mut length = path.len() + 7;
        length += length.to_string().len();
        [length.to_string().as_bytes(), b" path=", path, b"\n"].concat()
    };
    let good = tar(&[
        (b"././@LongLink", b'L', b"", 0o644, &long),
        (b"cut", b'0', b"", 0o644, b"gnu"),
        (b"pax", b'x', b"", 0o644, &record(b"by-pax")),
        (b"cut", b'0', b"", 0o644, b"pax"),
    ]);
    let dir = tempfile::tempdir().unwrap();
    let image = unpack(
        &layout(dir.path(), &[("tar", good.clone())]),
        None,
        &dir.path().join("images"),
    )
    .unwrap();
    assert_eq!(read(&image, std::str::from_utf8(&long).unwrap()), "gnu");
    assert_eq!(read(&image, "by-pax"), "pax");
    // Every byte of it changed in turn, with the headers' sums put right, and every length of it.
    for at in 0..good.len() {
        for value in [0, b'9', b'/', 0x80, 0xff] {
            let mut bad = good.clone();
            bad[at] = value;
            let start = at / 512 * 512;
            let mut block: [u8; 512] = bad[start..start + 512].try_into().unwrap();
            common::seal(&mut block);
            qila_image::fuzz_tar(&bad);
            bad[start..start + 512].copy_from_slice(&block);
            qila_image::fuzz_tar(&bad);
        }
        qila_image::fuzz_tar(&good[..at]);
    }
}
