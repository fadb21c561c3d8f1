//! Layers laid over each other are what they are when one is unpacked over the other, whatever is in them.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure here is the test's"
)]
mod common;
use common::{Item, layout, seen, store, tar};
use proptest::prelude::*;
use qila_image::unpack;

/// Entries over few names, so that layers meet each other everywhere.
fn entry() -> impl Strategy<Value = (String, u8, String, u32)> {
    let path =
        prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..4).prop_map(|p| p.join("/"));
    let kind = prop::sample::select(vec![b'0', b'0', b'5', b'5', b'5', b'2', b'1', b'w', b'o']);
    let target = prop::sample::select(vec!["a", "b", "c", "a/b", "/b/a", "/c", "../b"]);
    let mode = prop::sample::select(vec![0o755, 0o700, 0o711, 0o744]);
    (path, kind, target, mode).prop_map(|(path, kind, target, mode)| {
        let (above, name) = path
            .rsplit_once('/')
            .map_or((String::new(), path.as_str()), |(a, n)| (format!("{a}/"), n));
        match kind {
            b'w' => (format!("{above}.wh.{name}"), b'0', String::new(), mode),
            b'o' => (format!("{path}/.wh..wh..opq"), b'0', String::new(), mode),
            b'1' if target.contains("..") => (path, b'1', "a".into(), mode),
            b'1' | b'2' => (path, kind, target.into(), mode),
            kind => (path, kind, String::new(), mode),
        }
    })
}

fn places() -> Vec<String> {
    let names = ["a", "b", "c"];
    let mut out: Vec<String> = names.map(String::from).to_vec();
    for depth in 0..3 {
        let longest: Vec<String> = out
            .iter()
            .filter(|p| p.matches('/').count() == depth)
            .cloned()
            .collect();
        out.extend(longest.iter().flat_map(|p| names.map(|n| format!("{p}/{n}"))));
    }
    out
}

/// Whether the image was shown in several layers; panics where that is not what it is in one directory.
fn compare(layers: &[Vec<(String, u8, String, u32)>]) -> bool {
    let at = tempfile::tempdir().unwrap();
    let layers: Vec<_> = layers.iter().map(|l| ("tar", items(l))).collect();
    let layout = layout(at.path(), &layers);
    let merged = unpack(&layout, None, &at.path().join("merged"));
    let layered = store(at.path()).layout(&layout, None);
    match (merged, layered) {
        (Ok(merged), Ok(layered)) => {
            let places = places();
            let (one, many) = (seen(&[merged.root], &places), seen(&layered.lower, &places));
            let differ: Vec<_> = one.iter().zip(&many).filter(|(a, b)| a != b).collect();
            assert!(differ.is_empty(), "{differ:?}");
            layered.lower.len() > 1
        }
        (Err(_), Err(_)) => false,
        (a, b) => unreachable!("{a:?} {b:?}"),
    }
}

/// Every entry of a directory but itself, as `find` sees it.
const LIST: &str = "find . -mindepth 1 -printf '%p %y %m %l\\n' | sort";

#[test]
fn the_kernel_shows_what_one_directory_would() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let at = tempfile::tempdir().unwrap();
    let strategy = prop::collection::vec(prop::collection::vec(entry(), 0..6), 2..5);
    let mut runner = TestRunner::deterministic();
    let (mut script, mut compared) = (String::from("set -e\numask 0\n"), 0);
    for n in 0..400 {
        let layers = strategy.new_tree(&mut runner).unwrap().current();
        let here = at.path().join(n.to_string());
        std::fs::create_dir_all(here.join("mnt")).unwrap();
        let layers: Vec<_> = layers.iter().map(|l| ("tar", items(l))).collect();
        let layout = layout(&here, &layers);
        let (Ok(merged), Ok(layered)) = (
            unpack(&layout, None, &here.join("merged")),
            store(&here).layout(&layout, None),
        ) else {
            continue;
        };
        if layered.lower.len() < 2 {
            continue;
        }
        compared += 1;
        let lower: Vec<String> = layered.lower.iter().map(|l| l.display().to_string()).collect();
        let (mnt, root) = (here.join("mnt"), merged.root);
        script += &format!(
            "mount -t overlay -o ro,userxattr,lowerdir={} none {}\n",
            lower.join(":"),
            mnt.display()
        );
        script += &format!(
            "a=$(cd {}; {LIST})\nb=$(cd {}; {LIST})\n",
            mnt.display(),
            root.display()
        );
        script += &format!(
            "[ \"$a\" = \"$b\" ] || {{ echo \"{n}: $a ### $b\"; exit 3; }}\numount {}\n",
            mnt.display()
        );
    }
    assert!(compared >= 40, "{compared}");
    let path = at.path().join("compare.sh");
    std::fs::write(&path, script).unwrap();
    let able = std::process::Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "true"])
        .output();
    if !able.as_ref().is_ok_and(|o| o.status.success()) {
        println!("skipped: layers: no user and mount namespaces here: {able:?}");
        return;
    }
    let done = std::process::Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "timeout", "60", "sh"])
        .arg(&path)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        done.status.success(),
        "{} {}",
        text(&done.stdout),
        text(&done.stderr)
    );
}

fn items(layer: &[(String, u8, String, u32)]) -> Vec<u8> {
    let items: Vec<Item<'_>> = layer
        .iter()
        .map(|(p, k, t, m)| (p.as_bytes(), *k, t.as_bytes(), *m, &b""[..]))
        .collect();
    tar(&items)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn laid_over_each_other_or_unpacked_over_each_other(layers in prop::collection::vec(prop::collection::vec(entry(), 0..6), 1..4)) {
        compare(&layers);
    }
}
