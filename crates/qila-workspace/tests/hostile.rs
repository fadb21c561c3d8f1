//! What an agent may leave in its layer to trick the person who looks at it or applies it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test program: a panic is its verdict"
)]
mod common;
use common::{Bed, fd, node, set_attribute, whiteout};
use qila_workspace::{
    ApplyError, ApplyOptions, ChangeKind, Limits, NodeKind, Risky, RunLayer, SkipReason, Style, WalkError,
};
use rustix::fs::{CWD, FileType, Mode, mkdirat};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

fn all() -> ApplyOptions {
    ApplyOptions {
        risky: Risky::Include,
        ..ApplyOptions::default()
    }
}

fn kinds(bed: &Bed) -> Vec<(String, ChangeKind)> {
    bed.changes()
        .entries
        .into_iter()
        .map(|c| (c.path.to_string_lossy().into_owned(), c.kind))
        .collect()
}

fn reasons(bed: &Bed) -> Vec<(String, SkipReason)> {
    bed.changes()
        .skipped
        .into_iter()
        .map(|s| (s.path.to_string_lossy().into_owned(), s.reason))
        .collect()
}

#[test]
fn odd_names_arrive_as_they_are_and_are_never_printed_raw() {
    let bed = Bed::new(&[]);
    let names: [&[u8]; 6] = [
        b"new\nline",
        b"\x1b[2J\x1b]0;title\x07",
        b"\xff\xfe\x80",
        "\u{202e}gpj.exe".as_bytes(),
        b"-rf",
        b" \"'\\$(id)",
    ];
    for name in names {
        bed.agent(OsStr::from_bytes(name), "x\n");
    }
    for style in [
        Style::default(),
        Style {
            escape_content: true,
            color: false,
        },
    ] {
        let shown = bed.diff(style);
        assert!(
            !shown.iter().any(|b| *b < 0x20 && *b != b'\n'),
            "{}",
            shown.escape_ascii()
        );
        assert!(String::from_utf8(shown).is_ok_and(|s| !s.contains('\u{202e}')));
    }
    assert!(bed.stat().lines().count() == names.len() + 1, "{}", bed.stat());
    let json = serde_json::to_value(bed.changes()).unwrap();
    let hex: Vec<_> = json["entries"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|e| e["path_hex"].as_str())
        .collect();
    assert_eq!(hex, ["fffe80"]);
    bed.open().apply(&all()).unwrap();
    for name in names {
        assert_eq!(fs::read(bed.work.join(OsStr::from_bytes(name))).unwrap(), b"x\n");
    }
}

#[test]
fn links_are_carried_over_as_links_and_never_followed() {
    let bed = Bed::new(&[("victim", "1\n")]);
    let outside = bed.dir.path().join("outside");
    fs::write(&outside, "canary").unwrap();
    symlink(&outside, bed.upper.join("victim")).unwrap();
    symlink("/proc/self/root", bed.upper.join("magic")).unwrap();
    symlink("loop", bed.upper.join("loop")).unwrap();
    assert!(
        bed.change("victim")
            .risk
            .unwrap()
            .contains("out of the workspace")
    );
    assert_eq!(bed.change("victim").kind, ChangeKind::TypeChanged);
    assert!(bed.change("loop").risk.is_none());
    assert!(
        matches!(bed.open().apply(&ApplyOptions::default()), Err(ApplyError::RiskyPaths(r)) if r.len() == 2)
    );
    bed.open().apply(&all()).unwrap();
    assert!(
        fs::symlink_metadata(bed.work.join("victim"))
            .unwrap()
            .is_symlink()
    );
    assert_eq!(fs::read_to_string(outside).unwrap(), "canary");
}

#[test]
fn a_workspace_directory_that_is_a_link_by_now_is_replaced_not_entered() {
    let bed = Bed::new(&[("d/f", "1\n")]);
    let outside = bed.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("f"), "canary").unwrap();
    bed.agent("d/f", "agent\n");
    fs::rename(bed.work.join("d"), bed.work.join("was")).unwrap();
    symlink(&outside, bed.work.join("d")).unwrap();
    assert!(matches!(bed.open().apply(&all()), Err(ApplyError::Conflicts(_))));
    bed.open()
        .apply(&ApplyOptions {
            overwrite: true,
            ..all()
        })
        .unwrap();
    assert_eq!(fs::read_to_string(outside.join("f")).unwrap(), "canary");
    assert_eq!(bed.read("d/f"), "agent\n");
}

#[test]
fn special_files_are_reported_and_never_applied() {
    let bed = Bed::new(&[("was-a-file", "1\n")]);
    node(&bed.upper.join("pipe"), FileType::Fifo);
    node(&bed.upper.join("socket"), FileType::Socket);
    node(&bed.upper.join("was-a-file"), FileType::Fifo);
    let mut expected = vec![("pipe", SkipReason::Special), ("socket", SkipReason::Special)];
    let device = rustix::fs::makedev(1, 3);
    match rustix::fs::mknodat(
        CWD,
        bed.upper.join("null"),
        FileType::CharacterDevice,
        Mode::RUSR,
        device,
    ) {
        Ok(()) => expected.insert(0, ("null", SkipReason::Special)),
        Err(e) => eprintln!("skipped: device node: making one needs privilege ({e})"),
    }
    expected.push(("was-a-file", SkipReason::Special));
    let expected: Vec<_> = expected.into_iter().map(|(p, r)| (p.to_owned(), r)).collect();
    assert_eq!(reasons(&bed), expected);
    let applied = bed.open().apply(&all()).unwrap();
    assert!(applied.changes.is_empty() && applied.skipped.len() == expected.len());
    assert_eq!(fs::read_dir(&bed.work).unwrap().count(), 1);
    assert_eq!(bed.read("was-a-file"), "1\n");
}

#[test]
fn set_id_and_sticky_bits_are_dropped() {
    let bed = Bed::new(&[("same", "1\n")]);
    for (name, text) in [("suid", "x"), ("same", "1\n")] {
        bed.agent(name, text);
        fs::set_permissions(bed.upper.join(name), fs::Permissions::from_mode(0o6755)).unwrap();
    }
    fs::create_dir(bed.upper.join("dir")).unwrap();
    fs::set_permissions(bed.upper.join("dir"), fs::Permissions::from_mode(0o3777)).unwrap();
    bed.open().apply(&all()).unwrap();
    for (name, mode) in [("suid", 0o755), ("same", 0o755), ("dir", 0o777)] {
        assert_eq!(
            fs::metadata(bed.work.join(name)).unwrap().permissions().mode() & 0o7777,
            mode,
            "{name}"
        );
    }
}

#[test]
fn hard_links_become_files_of_their_own() {
    let bed = Bed::new(&[]);
    bed.agent("a", "x\n");
    fs::hard_link(bed.upper.join("a"), bed.upper.join("b")).unwrap();
    bed.open().apply(&all()).unwrap();
    let meta = |n: &str| fs::metadata(bed.work.join(n)).unwrap();
    assert!(meta("a").nlink() == 1 && meta("b").nlink() == 1 && meta("a").ino() != meta("b").ino());
    assert_ne!(meta("a").ino(), fs::metadata(bed.upper.join("a")).unwrap().ino());
}

#[test]
fn whiteouts_and_opaque_directories_of_every_form_remove() {
    let files = [
        ("a", "1\n"),
        ("b", "1\n"),
        ("o/x", "1\n"),
        ("o/y/z", "1\n"),
        ("o/y/w", "1\n"),
        ("keep/k", "1\n"),
    ];
    let bed = Bed::new(&files);
    whiteout(&bed.upper.join("a"));
    whiteout(&bed.upper.join("never-there"));
    bed.agent("b", "");
    set_attribute(&bed.upper.join("b"), "user.overlay.whiteout", b"y");
    set_attribute(&bed.upper, "user.overlay.opaque", b"x");
    // Opaque for all beneath it too: `o/y/w` is hidden although `o/y` says nothing.
    bed.agent("o/y/z", "2\n");
    set_attribute(&bed.upper.join("o"), "user.overlay.opaque", b"y");
    use ChangeKind::{Deleted, Modified};
    let expected = [
        ("a", Deleted),
        ("b", Deleted),
        ("o/x", Deleted),
        ("o/y/w", Deleted),
        ("o/y/z", Modified),
    ];
    assert_eq!(kinds(&bed), expected.map(|(p, k)| (p.to_owned(), k)));
    bed.open().apply(&all()).unwrap();
    assert!(!bed.work.join("a").exists() && !bed.work.join("b").exists() && !bed.work.join("o/y/w").exists());
    assert_eq!(
        (bed.read("o/y/z"), bed.read("keep/k")),
        ("2\n".into(), "1\n".into())
    );
}

#[test]
fn attributes_that_qilas_mounts_never_write_refuse_the_layer() {
    for (path, attribute) in [
        ("f", "user.overlay.metacopy"),
        ("d", "user.overlay.redirect"),
        ("", "user.overlay.redirect"),
    ] {
        let bed = Bed::new(&[]);
        bed.agent("f", "x");
        bed.agent("d/f", "x");
        set_attribute(&bed.upper.join(path), attribute, b"/etc");
        let error = bed.open().apply(&all()).unwrap_err();
        assert!(
            matches!(error, ApplyError::Walk(WalkError::Forged { .. })),
            "{path}: {error}"
        );
        RunLayer::discard(fd(&bed.run)).unwrap();
    }
}

#[test]
fn every_change_of_type_is_applied_and_shown_as_git_does() {
    let bed = Bed::new(&[
        ("f2d", "1\n"),
        ("f2l", "1\n"),
        ("d2f/x/y", "1\n"),
        ("d2l/x", "1\n"),
    ]);
    symlink("f2d", bed.work.join("l2f")).unwrap();
    symlink("f2d", bed.work.join("l2d")).unwrap();
    bed.agent("f2d/in", "new\n");
    bed.agent("d2f", "new\n");
    bed.agent("l2f", "new\n");
    bed.agent("l2d/in", "new\n");
    symlink("d2f", bed.upper.join("f2l")).unwrap();
    symlink("d2f", bed.upper.join("d2l")).unwrap();
    let applied = bed
        .open()
        .apply(&ApplyOptions {
            overwrite: true,
            ..all()
        })
        .unwrap();
    assert_eq!(
        applied
            .changes
            .iter()
            .filter(|c| c.kind == ChangeKind::TypeChanged)
            .count(),
        6
    );
    assert_eq!(
        (
            bed.read("f2d/in"),
            bed.read("d2f"),
            bed.read("l2f"),
            bed.read("l2d/in")
        ),
        ("new\n".into(), "new\n".into(), "new\n".into(), "new\n".into())
    );
    for link in ["f2l", "d2l"] {
        assert_eq!(fs::read_link(bed.work.join(link)).unwrap(), Path::new("d2f"));
    }
}

#[test]
fn holes_stay_holes_and_a_huge_one_is_not_applied() {
    let bed = Bed::new(&[]);
    let huge = fs::File::create(bed.upper.join("huge")).unwrap();
    huge.set_len(100 << 30).unwrap();
    let holes = fs::File::create(bed.upper.join("holes")).unwrap();
    holes.set_len(256 << 20).unwrap();
    holes.write_all_at(b"needle", 200 << 20).unwrap();
    assert_eq!(reasons(&bed), [("huge".to_owned(), SkipReason::TooLarge)]);
    assert!(
        String::from_utf8(bed.diff(Style::default()))
            .unwrap()
            .contains("too large to show")
    );
    bed.open().apply(&all()).unwrap();
    assert!(!bed.work.join("huge").exists());
    let copy = fs::File::open(bed.work.join("holes")).unwrap();
    let mut found = [0; 6];
    copy.read_exact_at(&mut found, 200 << 20).unwrap();
    let meta = copy.metadata().unwrap();
    assert_eq!((&found, meta.len()), (b"needle", 256 << 20));
    assert!(meta.blocks() * 512 < 4 << 20, "{} blocks", meta.blocks());
}

/// Directories inside one another, beyond what any path could name.
fn deep(top: &Path, levels: usize) {
    let mut here = fd(top);
    for _ in 0..levels {
        mkdirat(&here, "deep-directory", Mode::RWXU).unwrap();
        here = rustix::fs::openat(
            &here,
            "deep-directory",
            rustix::fs::OFlags::DIRECTORY,
            Mode::empty(),
        )
        .unwrap();
    }
}

#[test]
fn nesting_beyond_any_path_is_skipped_and_can_be_discarded() {
    let bed = Bed::new(&[]);
    deep(&bed.upper, 3000);
    bed.agent("fine", "x\n");
    let changes = bed.changes();
    assert_eq!(changes.skipped.len(), 1);
    assert_eq!(changes.skipped[0].reason, SkipReason::TooDeep);
    bed.open().apply(&all()).unwrap();
    assert_eq!(bed.read("fine"), "x\n");
    let removed = RunLayer::discard(fd(&bed.run)).unwrap();
    assert!(removed.directories >= 3003, "{removed:?}");
}

#[test]
fn long_paths_are_skipped() {
    let bed = Bed::new(&[]);
    bed.agent("abc/defghi", "x");
    let limits = Limits {
        path: 8,
        ..Limits::default()
    };
    let changes = bed.open().with_limits(limits).changes().unwrap();
    assert_eq!(changes.skipped[0].reason, SkipReason::PathTooLong);
}

#[test]
fn more_entries_than_the_limit_is_an_error_and_ten_thousand_are_fine() {
    let bed = Bed::new(&[]);
    for i in 0..10_000 {
        bed.agent(format!("d{}/f{i}", i % 50), "x\n");
    }
    let few = Limits {
        entries: 9_000,
        ..Limits::default()
    };
    assert!(matches!(
        bed.open().with_limits(few).layer().changes(),
        Err(WalkError::TooMany(9_000))
    ));
    let applied = bed.open().apply(&all()).unwrap();
    assert_eq!(applied.changes.len(), 10_050);
    assert_eq!(bed.read("d7/f57"), "x\n");
}

#[test]
fn a_layer_without_rights_for_its_owner_is_skipped_where_unreadable_and_can_be_discarded() {
    let bed = Bed::new(&[]);
    bed.agent("closed/inner/f", "x");
    bed.agent("secret", "x");
    for path in ["closed/inner", "closed", "secret", ""] {
        fs::set_permissions(bed.upper.join(path), fs::Permissions::from_mode(0o000)).unwrap();
    }
    fs::create_dir(bed.run.join("layer/work/work")).unwrap();
    fs::set_permissions(bed.run.join("layer/work/work"), fs::Permissions::from_mode(0o000)).unwrap();
    if rustix::process::geteuid().is_root() {
        eprintln!("skipped: unreadable entries: root may read everything");
    } else {
        use SkipReason::Unreadable;
        assert_eq!(
            reasons(&bed),
            [
                ("closed".to_owned(), Unreadable),
                ("secret".to_owned(), Unreadable)
            ]
        );
    }
    RunLayer::discard(fd(&bed.run)).unwrap();
    assert!(!bed.run.join("layer").exists());
}

#[test]
fn special_files_on_the_host_may_be_removed_or_replaced() {
    let bed = Bed::new(&[]);
    node(&bed.work.join("p"), FileType::Fifo);
    node(&bed.work.join("q"), FileType::Fifo);
    whiteout(&bed.upper.join("p"));
    bed.agent("q", "x\n");
    assert_eq!(bed.change("q").before.unwrap().kind, NodeKind::Special);
    bed.open()
        .apply(&ApplyOptions {
            overwrite: true,
            ..all()
        })
        .unwrap();
    assert!(!bed.work.join("p").exists());
    assert_eq!(bed.read("q"), "x\n");
}
