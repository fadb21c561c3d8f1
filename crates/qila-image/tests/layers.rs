//! Layers unpacked each by itself and laid over each other: what is shown, stored, shared and refused.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: a failure here is the test's"
)]
mod common;
use common::{Item, image, index, layout, layout_of, seen, store, tar};
use qila_image::{ImageError, Layered, Limits, Store};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

fn file<'a>(path: &'a str, body: &'a [u8]) -> Item<'a> {
    (path.as_bytes(), b'0', b"", 0o644, body)
}

fn dir(path: &str, mode: u32) -> Item<'_> {
    (path.as_bytes(), b'5', b"", mode, b"")
}

fn link<'a>(path: &'a str, to: &'a str) -> Item<'a> {
    (path.as_bytes(), b'2', to.as_bytes(), 0o777, b"")
}

fn of(at: &Path, layers: &[&[Item<'_>]]) -> Result<Layered, ImageError> {
    let layers: Vec<_> = layers.iter().map(|l| ("tar", tar(l))).collect();
    store(at).layout(&layout(at, &layers), None)
}

fn layers_kept(at: &Path) -> usize {
    std::fs::read_dir(at.join("store/layers")).unwrap().count()
}

#[test]
fn a_whiteout_is_one_that_overlayfs_knows() {
    let at = tempfile::tempdir().unwrap();
    let lower: &[Item<'_>] = &[
        dir("d/", 0o755),
        file("d/gone", b"g"),
        file("d/kept", b"k"),
        dir("o/", 0o755),
        file("o/old", b""),
    ];
    let upper: &[Item<'_>] = &[
        dir("d/", 0o755),
        file("d/.wh.gone", b""),
        dir("o/", 0o755),
        file("o/.wh..wh..opq", b""),
        file("o/new", b""),
    ];
    let image = of(at.path(), &[lower, upper]).unwrap();
    assert_eq!((image.lower.len(), image.fresh), (2, 2));
    let gone = image.lower[0].join("d/gone").symlink_metadata().unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    let mut value = [0u8; 8];
    let n = rustix::fs::getxattr(image.lower[0].join("o"), "user.overlay.opaque", &mut value[..]).unwrap();
    assert_eq!(&value[..n], b"y");
    let places = ["d/gone", "d/kept", "o/old", "o/new"].map(String::from);
    let found = seen(&image.lower, &places);
    assert!(
        found[0].ends_with("none") && found[2].ends_with("none"),
        "{found:?}"
    );
    assert!(
        !found[1].ends_with("none") && !found[3].ends_with("none"),
        "{found:?}"
    );
}

#[test]
fn one_layer_is_shown_as_it_is_but_for_its_whiteouts() {
    let at = tempfile::tempdir().unwrap();
    let one = of(at.path(), &[&[file("a", b"a")]]).unwrap();
    assert_eq!(one.lower.len(), 1);
    let at = tempfile::tempdir().unwrap();
    let one = of(at.path(), &[&[file("a", b"a"), file(".wh.b", b"")]]).unwrap();
    assert_eq!(one.lower.len(), 2);
    assert!(one.lower[1].ends_with("empty"));
    let at = tempfile::tempdir().unwrap();
    let none = of(at.path(), &[&[], &[]]).unwrap();
    assert_eq!(none.lower.len(), 1);
    // A layer twice: overlayfs takes no directory twice, and only the upper one is seen.
    let at = tempfile::tempdir().unwrap();
    let (a, b): (&[Item<'_>], &[Item<'_>]) = (&[file("a", b"a")], &[file(".wh.a", b""), file("b", b"b")]);
    let twice = of(at.path(), &[a, b, a]).unwrap();
    assert_eq!((twice.lower.len(), twice.fresh), (2, 2));
    let found = seen(&twice.lower, &["a".into(), "b".into()]);
    assert!(found.iter().all(|f| !f.ends_with("none")), "{found:?}");
    // Everything beneath is hidden.
    let at = tempfile::tempdir().unwrap();
    let bottom = of(
        at.path(),
        &[&[file("a", b"")], &[file(".wh..wh..opq", b""), file("b", b"")]],
    )
    .unwrap();
    assert_eq!(bottom.lower.len(), 1);
}

#[test]
fn what_only_the_layers_beneath_explain_is_unpacked_into_one_directory() {
    let lower: &[Item<'_>] = &[
        file("usr/bin/a", b"a"),
        link("bin", "usr/bin"),
        dir("tmp/", 0o777),
    ];
    for (upper, why) in [
        (file("bin/new", b"new"), "through a link beneath"),
        (
            (&b"b"[..], b'1', &b"usr/bin/a"[..], 0o644, &b""[..]),
            "a hard link to a file beneath",
        ),
        (file("tmp/x", b"x"), "a directory whose mode is another"),
        (file("usr/bin/a/x", b"x"), "through a file beneath"),
    ] {
        let at = tempfile::tempdir().unwrap();
        let image = of(at.path(), &[lower, &[upper]]);
        if why == "through a file beneath" {
            assert!(image.is_err(), "as when unpacked over it");
            continue;
        }
        let image = image.unwrap();
        assert_eq!(image.lower.len(), 1, "{why}");
        assert!(image.lower[0].ends_with("rootfs"), "{why}");
    }
    let at = tempfile::tempdir().unwrap();
    let image = of(
        at.path(),
        &[
            lower,
            &[dir("tmp/", 0o700), file("tmp/x", b"x"), file("usr/bin/b", b"b")],
        ],
    )
    .unwrap();
    assert_eq!(image.lower.len(), 2, "the twin");
}

#[test]
fn layers_of_two_images_are_stored_once() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("layout");
    std::fs::create_dir_all(at.join("blobs/sha256")).unwrap();
    let base = || ("tar", tar(&[file("base", b"base")]));
    let image = |name: &str| {
        let own = ("tar", tar(&[file(name, name.as_bytes())]));
        let named = format!("\"annotations\":{{\"org.opencontainers.image.ref.name\":\"{name}\"}}");
        format!(
            "{},{},{named}}}",
            image(&at, "{}", &[base(), own]),
            common::MANIFEST
        )
    };
    index(&at, &[image("x"), image("y")]);
    let store = store(dir.path());
    let x = store.layout(&at, Some("x")).unwrap();
    let y = store.layout(&at, Some("y")).unwrap();
    assert_eq!((x.fresh, y.fresh, layers_kept(dir.path())), (2, 1, 3));
    assert_eq!(x.lower[1], y.lower[1]);
    assert_ne!(x.lower[0], y.lower[0]);
    let again = store.layout(&at, Some("x")).unwrap();
    assert_eq!((again.fresh, &again.lower), (0, &x.lower));
    assert_eq!(store.image(&x.digest).unwrap().unwrap().lower, x.lower);
    drop(again);
    // What is held or kept stays; what neither needs goes.
    let (kept, top) = (y.digest.clone(), x.lower[0].clone());
    drop(y);
    assert_eq!(store.sweep(std::slice::from_ref(&kept)).unwrap().images, 0);
    drop(x);
    let swept = store.sweep(std::slice::from_ref(&kept)).unwrap();
    assert_eq!(
        (swept.images, swept.directories, layers_kept(dir.path())),
        (1, 1, 2)
    );
    assert!(!top.exists());
    let y = store.layout(&at, Some("y")).unwrap();
    assert_eq!(
        (y.fresh, seen(&y.lower, &["y".into()])[0].ends_with("none")),
        (0, false)
    );
    drop(y);
    assert_eq!(store.sweep(&[]).unwrap().images, 1);
    assert_eq!(
        (
            layers_kept(dir.path()),
            store.layout(&at, Some("x")).unwrap().fresh
        ),
        (0, 2)
    );
}

#[test]
fn what_a_layer_decompresses_to_is_what_the_image_says() {
    let layer = tar(&[file("a", b"a")]);
    let digest = |bytes: &[u8]| {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("blobs/sha256")).unwrap();
        let put = common::put(dir.path(), bytes);
        put.split('"').nth(3).unwrap().to_owned()
    };
    let config = |ids: &[String]| format!("{{\"rootfs\":{{\"diff_ids\":{ids:?}}}}}");
    let get = |config: &str| {
        let at = tempfile::tempdir().unwrap();
        let layout = layout_of(at.path(), config, &[("tar+gzip", common::gzip(&layer))]);
        store(at.path()).layout(&layout, None).map(drop)
    };
    get(&config(&[digest(&layer)])).unwrap();
    let wrong = get(&config(&[digest(b"else")]));
    assert!(matches!(wrong, Err(ImageError::Digest { .. })), "{wrong:?}");
    let more = get(&config(&[digest(&layer), digest(&layer)]))
        .unwrap_err()
        .to_string();
    assert!(more.contains("2 layers"), "{more}");
}

#[test]
fn many_at_once_unpack_each_layer_once() {
    let dir = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..300).map(|n| format!("f{n}")).collect();
    let items: Vec<Item<'_>> = names.iter().map(|n| file(n, b"contents")).collect();
    let at = layout(
        dir.path(),
        &[("tar", tar(&items)), ("tar", tar(&[file("g", b"g")]))],
    );
    let images: Vec<Layered> = std::thread::scope(|s| {
        let all: Vec<_> = (0..6)
            .map(|_| s.spawn(|| store(dir.path()).layout(&at, None).unwrap()))
            .collect();
        all.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(images.iter().map(|i| i.fresh).sum::<usize>(), 2);
    // Each of them holds it.
    for image in images {
        assert_eq!(store(dir.path()).sweep(&[]).unwrap().images, 0);
        drop(image);
    }
    assert_eq!(store(dir.path()).sweep(&[]).unwrap().images, 1);
}

#[test]
fn how_an_image_wants_to_be_run() {
    let at = tempfile::tempdir().unwrap();
    let config = r#"{"config":{"Env":["PATH=/opt:/bin","A=b","=x","none","N=\u0000"],"WorkingDir":"/srv","User":"10:20",
        "Entrypoint":["/bin/init","--"],"Cmd":["serve"]}}"#;
    let layout = layout_of(at.path(), config, &[("tar", tar(&[]))]);
    for _ in 0..2 {
        let image = store(at.path()).layout(&layout, None).unwrap();
        let c = &image.config;
        assert_eq!(
            (c.env.as_slice(), c.path()),
            (
                &["PATH=/opt:/bin".to_owned(), "A=b".into()][..],
                Some("/opt:/bin")
            )
        );
        assert_eq!(
            (c.working_dir.as_deref(), c.user.as_deref()),
            (Some("/srv"), Some("10:20"))
        );
        assert_eq!(
            (c.entrypoint.as_slice(), c.cmd.as_slice()),
            (
                &["/bin/init".to_owned(), "--".into()][..],
                &["serve".to_owned()][..]
            )
        );
    }
    let at = tempfile::tempdir().unwrap();
    let config = r#"{"config":{"WorkingDir":"relative","Cmd":["a","\u0000"]}}"#;
    let image = store(at.path())
        .layout(&layout_of(at.path(), config, &[("tar", tar(&[]))]), None)
        .unwrap();
    assert_eq!(
        (image.config.working_dir.as_ref(), image.config.cmd.len()),
        (None, 0)
    );
}

#[test]
fn a_hostile_layer_leaves_nothing() {
    let outside = tempfile::tempdir().unwrap();
    let to = outside.path().to_str().unwrap().to_owned();
    let limits = Limits {
        bytes: 1 << 16,
        entries: 50,
        ratio: 10,
        free: 1 << 16,
        ..Limits::default()
    };
    let zeros = vec![0u8; 1 << 17];
    let names: Vec<String> = (0..51).map(|n| format!("f{n}")).collect();
    let many: Vec<Item<'_>> = names.iter().map(|n| file(n, b"")).collect();
    let slim = vec![file("zeros", &zeros[..40_000])];
    let cases: Vec<(Vec<Vec<Item<'_>>>, &str)> = vec![
        (vec![vec![file("../x", b"x")]], "upward"),
        (
            vec![vec![link("to", &to), file("to/planted", b"x")]],
            "`to/planted`",
        ),
        (vec![vec![(b"l", b'1', b"/etc/passwd", 0o644, b"")]], "no file"),
        (
            vec![vec![(b"l", b'1', b"../../etc/passwd", 0o644, b"")]],
            "upward",
        ),
        (vec![vec![file("zeros", &zeros)]], "more than 65536 bytes"),
        (vec![slim.clone(), slim], "more than 65536 bytes"),
        (vec![many.clone()], "more than 50 entries"),
        (
            vec![many[..30].to_vec(), many[20..].to_vec()],
            "more than 50 entries",
        ),
        (vec![vec![(b"s", b'S', b"", 0o644, b"")]], "sparse"),
    ];
    for (layers, why) in cases {
        let at = tempfile::tempdir().unwrap();
        let store = Store::open(&at.path().join("store"), limits).unwrap();
        let layers: Vec<_> = layers.iter().map(|l| ("tar", tar(l))).collect();
        let error = store
            .layout(&layout(at.path(), &layers), None)
            .unwrap_err()
            .to_string();
        assert!(error.contains(why), "{why}: {error}");
        assert_eq!(
            std::fs::read_dir(at.path().join("store/tmp")).unwrap().count(),
            0,
            "{why}"
        );
        assert_eq!(
            std::fs::read_dir(at.path().join("store/images")).unwrap().count(),
            0,
            "{why}"
        );
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0, "{why}");
        store.sweep(&[]).unwrap();
        assert_eq!(layers_kept(at.path()), 0, "{why}");
    }
    // Set-id bits, devices and whiteouts of the image's own making are not made.
    let at = tempfile::tempdir().unwrap();
    let image = of(
        at.path(),
        &[&[
            (b"su", b'0', b"", 0o6755, b"x"),
            (b"dev", b'3', b"", 0o666, b""),
            file("in", b"1"),
            file("in", b"2"),
        ]],
    )
    .unwrap();
    assert_eq!(
        image.lower[0].join("su").metadata().unwrap().mode() & 0o7777,
        0o755
    );
    assert!(image.lower[0].join("dev").symlink_metadata().is_err());
    assert_eq!(std::fs::read(image.lower[0].join("in")).unwrap(), b"2");
}

#[test]
fn whiteouts_without_end_are_not_remembered() {
    let lower: &[Item<'_>] = &[file("a", b"a"), file("w7", b"7")];
    let names: Vec<String> = (0..80_000)
        .map(|n| format!(".wh.w{n}{}", ".".repeat(200 + n % 40)))
        .collect();
    let mut upper: Vec<Item<'_>> = names.iter().map(|n| file(n, b"")).collect();
    upper.push(file(".wh.a", b""));
    let at = tempfile::tempdir().unwrap();
    let mut bytes: Vec<u8> = upper.iter().flat_map(|(path, ..)| long(path)).collect();
    bytes.extend([0; 1024]);
    let layout = layout(at.path(), &[("tar", tar(lower)), ("tar", bytes)]);
    let image = store(at.path()).layout(&layout, None).unwrap();
    assert_eq!(image.lower.len(), 1);
    assert!(
        image.lower[0].ends_with("rootfs")
            && image.lower[0].join("w7").exists()
            && !image.lower[0].join("a").exists()
    );
    // One whose name no file system holds hides nothing.
    let at = tempfile::tempdir().unwrap();
    let mut bytes = long(format!(".wh.{}", "n".repeat(300)).as_bytes());
    bytes.extend([0; 1024]);
    let image = store(at.path())
        .layout(
            &common::layout(at.path(), &[("tar", tar(lower)), ("tar", bytes)]),
            None,
        )
        .unwrap();
    assert_eq!((image.lower.len(), image.lower[0].join("a").exists()), (1, true));
}

/// An empty file, however long its path.
fn long(path: &[u8]) -> Vec<u8> {
    let mut out = common::header(b"././@LongLink", b'L', b"", 0o644, path.len()).to_vec();
    out.extend(path);
    out.resize(out.len().next_multiple_of(512), 0);
    out.extend(common::header(b"cut", b'0', b"", 0o644, 0));
    out
}
