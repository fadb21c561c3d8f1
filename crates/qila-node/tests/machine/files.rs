//! Files in sandboxes.
use crate::cases::{Bench, run, sandbox, tenant};
use qila_api::{Change, EntryKind, Kind, Node};
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;

fn bytes(b: impl Into<Vec<u8>>) -> qila_api::Writer {
    Box::pin(std::io::Cursor::new(b.into()))
}

pub async fn whole(bench: &Bench) {
    let node = bench.node().await;
    let made = sandbox(&node).await;
    let (t, id) = (tenant(), made.id);
    let entry = node
        .write(&t, &id, "a/b/c.txt", Some(0o640), bytes("hello"))
        .await
        .unwrap();
    assert_eq!(
        (
            entry.path.as_str(),
            entry.size,
            entry.mode & 0o777,
            entry.owner.as_str()
        ),
        ("/home/user/a/b/c.txt", 5, 0o640, "user")
    );
    let mut reader = node.read(&t, &id, "/home/user/a/b/c.txt", 1).await.unwrap();
    let mut text = String::new();
    reader.bytes.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "ello");
    node.make_dir(&t, &id, "dir/in").await.unwrap();
    assert_eq!(
        node.make_dir(&t, &id, "dir/in").await.unwrap_err().kind,
        Kind::Conflict
    );
    let moved = node.rename(&t, &id, "a/b/c.txt", "dir/d.txt").await.unwrap();
    assert_eq!(moved.name, "d.txt");
    let list = node.read_dir(&t, &id, ".", 2).await.unwrap();
    let names: Vec<&str> = list.iter().map(|e| e.path.as_str()).collect();
    assert_eq!(
        names,
        [
            "/home/user/a",
            "/home/user/a/b",
            "/home/user/dir",
            "/home/user/dir/d.txt",
            "/home/user/dir/in"
        ]
    );
    node.remove(&t, &id, "dir").await.unwrap();
    node.remove(&t, &id, "dir").await.unwrap();
    assert_eq!(node.stat(&t, &id, "dir").await.unwrap_err().kind, Kind::NotFound);
    assert_eq!(node.read(&t, &id, "a", 0).await.unwrap_err().kind, Kind::Invalid);
    node.kill(&t, &id).await.unwrap();
}

pub async fn hostile(bench: &Bench) {
    let node = bench.node().await;
    let made = sandbox(&node).await;
    let (t, id) = (tenant(), made.id);
    run(
        &node,
        &id,
        "ln -s /etc/passwd link; ln -s loop loop; mkfifo pipe; ln -s / root",
    )
    .await;
    let link = node.stat(&t, &id, "link").await.unwrap();
    assert_eq!(
        (link.kind, link.target_kind),
        (EntryKind::Link, Some(EntryKind::File))
    );
    assert!(node.write(&t, &id, "/etc/new", None, bytes("x")).await.is_err());
    assert!(
        node.write(&t, &id, "root/etc/new", None, bytes("x"))
            .await
            .is_err()
    );
    assert!(
        node.read(&t, &id, "/etc/shadow", 0)
            .await
            .is_ok_and(|r| r.entry.size == 0)
            || node.read(&t, &id, "/etc/shadow", 0).await.is_err()
    );
    assert!(node.read(&t, &id, "loop", 0).await.is_err());
    let piped = tokio::time::timeout(Duration::from_secs(5), node.read(&t, &id, "pipe", 0))
        .await
        .expect("a pipe makes nobody wait");
    assert!(piped.is_err());
    for bad in ["", "\0", &"x".repeat(5000)] {
        assert!(node.stat(&t, &id, bad).await.is_err() || bad.is_empty());
    }
    node.kill(&t, &id).await.unwrap();
}

pub async fn watching(bench: &Bench) {
    let node = bench.node().await;
    let made = sandbox(&node).await;
    let (t, id) = (tenant(), made.id);
    node.make_dir(&t, &id, "w").await.unwrap();
    let mut watch = node.watch(&t, &id, "w", true).await.unwrap();
    run(&node, &id, "mkdir w/in; echo x > w/in/first").await;
    let mut seen = Vec::new();
    // Told of what is in it, it is watched.
    while !seen.contains(&("in/first".to_owned(), Change::Create)) {
        let event = tokio::time::timeout(Duration::from_secs(10), watch.events.recv()).await;
        let event = event.unwrap().unwrap();
        seen.push((event.name, event.change));
    }
    run(
        &node,
        &id,
        "echo x > w/in/file; chmod 600 w/in/file; mv w/in/file w/f; rm w/f",
    )
    .await;
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_millis(500), watch.events.recv()).await {
        seen.push((event.name, event.change));
    }
    for wanted in [
        ("in", Change::Create),
        ("in/file", Change::Create),
        ("in/file", Change::Write),
        ("in/file", Change::Chmod),
        ("in/file", Change::Rename),
        ("f", Change::Create),
        ("f", Change::Remove),
    ] {
        assert!(
            seen.iter().any(|(n, c)| (n.as_str(), *c) == wanted),
            "{wanted:?} in {seen:?}"
        );
    }
    node.kill(&t, &id).await.unwrap();
}

pub async fn large(bench: &Bench) {
    let node = bench.node().await;
    let made = sandbox(&node).await;
    let (t, id) = (tenant(), made.id);
    let body = vec![7u8; 64 << 20];
    let begun = Instant::now();
    node.write(&t, &id, "large", None, bytes(body.clone()))
        .await
        .unwrap();
    println!("  64 MiB written in {:?}", begun.elapsed());
    let begun = Instant::now();
    let mut reader = node.read(&t, &id, "large", 0).await.unwrap();
    let mut got = Vec::new();
    reader.bytes.read_to_end(&mut got).await.unwrap();
    println!("  64 MiB read in {:?}", begun.elapsed());
    assert!(got == body);
    node.kill(&t, &id).await.unwrap();
}
