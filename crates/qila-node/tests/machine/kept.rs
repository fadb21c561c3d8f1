//! Files that are kept, forked and gone back to.
use crate::cases::{Bench, code, finish, run, sandbox, shell, tenant};
use crate::lives::template;
use qila_api::{Create, Fork, Kind, Node, Template};
use std::time::{Duration, Instant};

pub async fn snapshots(bench: &Bench) {
    let node = bench.node().await;
    let made = sandbox(&node).await;
    run(&node, &made.id, "mkdir -p d; echo one > d/file; ln -s file d/link; echo x > gone; ln d/file d/hard; mkfifo pipe; chmod 000 gone").await;
    let snap = node
        .snapshot(&tenant(), &made.id, Some("first".into()))
        .await
        .unwrap();
    run(
        &node,
        &made.id,
        "echo two > d/file; rm -f gone; rm -rf d; mkdir d; echo new > d/file",
    )
    .await;
    let template = Template {
        id: "from-snap".into(),
        source: qila_api::Source::Snapshot(snap.id.to_string()),
        ..template()
    };
    node.put_template(&tenant(), template).await.unwrap();
    let copy = node
        .create(&tenant(), Create::from_template("from-snap"))
        .await
        .unwrap();
    let (_, out, err) = run(
        &node,
        &copy.id,
        "cat d/link; stat -c %h d/hard; stat -c '%a %F' gone pipe",
    )
    .await;
    assert_eq!(
        (out.as_str(), err.as_str()),
        ("one\n2\n0 regular file\n644 fifo\n", "")
    );
    run(&node, &copy.id, "echo changed > d/file").await;
    let busy = node.remove_snapshot(&tenant(), &snap.id).await.unwrap_err();
    assert_eq!(busy.kind, Kind::Conflict);
    let (_, out, _) = run(&node, &made.id, "cat d/file; ls").await;
    assert_eq!(out, "new\nd\npipe\n");
    let background = node.exec(&tenant(), &made.id, shell("sleep 60")).await.unwrap();
    node.roll_back(&tenant(), &made.id, &snap.id).await.unwrap();
    let (status, ..) = finish(background).await;
    assert_eq!(status.signal, Some(9));
    let (_, out, _) = run(&node, &made.id, "cat d/file; ls; echo more > d/more; cat d/more").await;
    assert_eq!(out, "one\nd\ngone\npipe\nmore\n");
    let wrong = node.roll_back(&tenant(), &copy.id, &snap.id).await.unwrap_err();
    assert_eq!(wrong.kind, Kind::Conflict);
    node.kill(&tenant(), &made.id).await.unwrap();
    node.kill(&tenant(), &copy.id).await.unwrap();
    node.remove_template(&tenant(), "from-snap").await.unwrap();
    assert!(node.remove_snapshot(&tenant(), &snap.id).await.unwrap());
    assert!(!node.remove_snapshot(&tenant(), &snap.id).await.unwrap());
}

pub async fn forks(bench: &Bench) {
    let node = bench.node().await;
    let wish = Create {
        secure: true,
        metadata: [("k".to_owned(), "v".to_owned())].into(),
        environment: [("MINE".to_owned(), "yes".to_owned())].into(),
        ..Create::from_template("base")
    };
    let made = node.create(&tenant(), wish).await.unwrap();
    run(
        &node,
        &made.id,
        "dd if=/dev/zero of=big bs=1M count=256 2>/dev/null; echo parent > who",
    )
    .await;
    let begun = Instant::now();
    let child = node.fork(&tenant(), &made.id, Fork::default()).await.unwrap();
    println!("  fork of 256 MiB: {:?}", begun.elapsed());
    use secrecy::ExposeSecret;
    let token = |s: &qila_api::Sandbox| s.access_token.as_ref().unwrap().expose_secret().to_owned();
    assert_ne!(token(&made), token(&child), "tokens do not travel");
    assert_eq!(child.metadata, made.metadata);
    let (_, out, _) = run(
        &node,
        &child.id,
        "cat who; stat -c %s big; echo child > who; echo $MINE; rm big",
    )
    .await;
    assert_eq!(out, "parent\n268435456\nyes\n");
    let (_, out, _) = run(&node, &made.id, "cat who; stat -c %s big; echo still > who").await;
    assert_eq!(out, "parent\n268435456\n");
    let grandchild = node.fork(&tenant(), &child.id, Fork::default()).await.unwrap();
    node.kill(&tenant(), &made.id).await.unwrap();
    node.kill(&tenant(), &child.id).await.unwrap();
    let (_, out, _) = run(&node, &grandchild.id, "cat who; ls").await;
    assert_eq!(out, "child\nwho\n", "what it lies on outlives those who wrote it");
    node.kill(&tenant(), &grandchild.id).await.unwrap();
}

pub async fn busy_fork(bench: &Bench) {
    let node = bench.node().await;
    let made = sandbox(&node).await;
    run(
        &node,
        &made.id,
        "mkdir d; echo one > d/f; rm -rf d; mkdir d; echo two > d/g",
    )
    .await;
    let writer = node
        .exec(
            &tenant(),
            &made.id,
            shell("exec 9>>open; while :; do echo line >&9; sleep 0.01; done"),
        )
        .await
        .unwrap();
    let begun = Instant::now();
    while run(&node, &made.id, "test -s open").await.0 != code(0) {
        assert!(begun.elapsed() < Duration::from_secs(20), "nothing is written");
    }
    let child = node.fork(&tenant(), &made.id, Fork::default()).await.unwrap();
    let (_, before, _) = run(&node, &child.id, "wc -l < open; ls d").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (_, after, _) = run(&node, &child.id, "wc -l < open; ls d").await;
    assert_eq!(before, after, "what the parent writes later is not seen");
    assert!(before.ends_with("g\n") && !before.starts_with("0\n"), "{before}");
    let (_, parent, _) = run(&node, &made.id, "wc -l < open").await;
    assert!(parent.trim().parse::<u32>().unwrap() > before.lines().next().unwrap().parse().unwrap());
    drop(writer);
    node.kill(&tenant(), &made.id).await.unwrap();
    node.kill(&tenant(), &child.id).await.unwrap();
}
