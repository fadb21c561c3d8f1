//! Removing and measuring trees that an agent made.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test program: a panic is its verdict"
)]
mod common;
use common::{fd, node};
use qila_workspace::{DiskSampler, Room, Usage, remove_tree, usage};
use rustix::fs::{FileType, Mode, OFlags, mkdirat, openat};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

#[test]
fn removal_stays_inside_whatever_the_tree_holds() {
    let dir = tempfile::tempdir().unwrap();
    let outside = dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("canary"), "x").unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir_all(tree.join("a/b")).unwrap();
    symlink(&outside, tree.join("a/link")).unwrap();
    symlink("..", tree.join("a/b/up")).unwrap();
    node(&tree.join("a/b/pipe"), FileType::Fifo);
    common::whiteout(&tree.join("a/white"));
    fs::hard_link(outside.join("canary"), tree.join("a/hard")).unwrap();
    for closed in ["a/b", "a", ""] {
        fs::set_permissions(tree.join(closed), fs::Permissions::from_mode(0o000)).unwrap();
    }
    let removed = remove_tree(fd(dir.path()), OsStr::new("tree")).unwrap();
    assert_eq!((removed.files, removed.directories), (5, 3));
    assert_eq!(fs::read_to_string(outside.join("canary")).unwrap(), "x");
    assert!(!tree.exists());
    assert_eq!(
        remove_tree(fd(dir.path()), OsStr::new("tree")).unwrap().files,
        0,
        "twice is harmless"
    );
}

#[test]
fn a_link_in_the_place_of_the_tree_is_removed_itself() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("outside/x")).unwrap();
    symlink("outside", dir.path().join("tree")).unwrap();
    remove_tree(fd(dir.path()), OsStr::new("tree")).unwrap();
    assert!(dir.path().join("outside/x").exists() && !dir.path().join("tree").exists());
}

#[test]
fn depth_costs_no_descriptors_and_is_counted() {
    const LEVELS: u64 = 5000;
    let dir = tempfile::tempdir().unwrap();
    let mut here = fd(dir.path());
    for _ in 0..LEVELS {
        mkdirat(&here, "d", Mode::RWXU).unwrap();
        here = openat(&here, "d", OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    drop(here);
    let used = usage(fd(dir.path()), None).unwrap();
    assert_eq!((used.inodes, used.unreadable), (LEVELS, 0));
    assert_eq!(
        remove_tree(fd(dir.path()), OsStr::new("d")).unwrap().directories,
        LEVELS
    );
}

#[test]
fn usage_counts_what_is_allocated_and_hard_links_once() {
    let dir = tempfile::tempdir().unwrap();
    let block = vec![1u8; 1 << 20];
    fs::write(dir.path().join("a"), &block).unwrap();
    fs::hard_link(dir.path().join("a"), dir.path().join("b")).unwrap();
    fs::File::create(dir.path().join("hole"))
        .unwrap()
        .set_len(1 << 40)
        .unwrap();
    fs::create_dir(dir.path().join("d")).unwrap();
    fs::write(dir.path().join("d/c"), &block).unwrap();
    symlink("/", dir.path().join("root")).unwrap();
    let all = usage(fd(dir.path()), None).unwrap();
    assert_eq!((all.inodes, all.exceeded), (5, false));
    assert!((2 << 20..3 << 20).contains(&all.bytes), "{all:?}");
    assert!(usage(fd(dir.path()), Some(1 << 20)).unwrap().exceeded);
    assert!(!usage(fd(dir.path()), Some(3 << 20)).unwrap().exceeded);
}

#[test]
fn directories_closed_to_their_owner_are_reported() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("closed")).unwrap();
    fs::set_permissions(dir.path().join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
    let used: Usage = usage(fd(dir.path()), None).unwrap();
    if rustix::process::geteuid().is_root() {
        eprintln!("skipped: unreadable directories: root may read everything");
        assert_eq!(used.unreadable, 0);
    } else {
        assert_eq!((used.unreadable, used.inodes), (1, 1));
    }
    fs::set_permissions(dir.path().join("closed"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn the_sampler_notices_a_flood_at_once_and_small_growth_within_its_second() {
    let dir = tempfile::tempdir().unwrap();
    let mut sampler = DiskSampler::new(fd(dir.path()), 8 << 20).unwrap();
    assert_eq!(sampler.sample().unwrap().bytes, 0);
    let write = |name: &str, size: usize| {
        let file = fs::File::create(dir.path().join(name)).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &vec![1; size], 0).unwrap();
        // Allocated on disk, not only promised.
        file.sync_all().unwrap();
    };
    write("small", 64 << 10);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while sampler.sample().unwrap().bytes < 64 << 10 {
        assert!(std::time::Instant::now() < deadline);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    write("flood", 16 << 20);
    assert!((0..10).any(|_| sampler.sample().unwrap().exceeded));
}

#[test]
fn a_flood_of_empty_files_is_noticed_as_it_happens() {
    let dir = tempfile::tempdir().unwrap();
    let mut sampler = DiskSampler::new(fd(dir.path()), 1 << 20).unwrap();
    for n in 0..2000 {
        fs::File::create(dir.path().join(n.to_string())).unwrap();
        // Of a look after each hundred files the one after the eleventh hundred sees too much at the latest, however soon it comes.
        if n % 100 == 99 && sampler.sample().unwrap().exceeded {
            assert!(n >= 1024 - 1);
            return;
        }
    }
    if Room::of(fd(dir.path())).unwrap().counts_inodes() {
        panic!("2000 files were made under a limit of 1 MiB");
    }
    eprintln!("skipped: floods of empty files: this file system does not count them");
    assert!(sampler.walk().unwrap().exceeded);
}
