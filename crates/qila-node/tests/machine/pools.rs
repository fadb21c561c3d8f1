//! Sandboxes that are made before anybody asks.
use crate::cases::{Bench, run, tenant};
use crate::lives::template;
use qila_api::{Create, Node, Template};
use std::time::{Duration, Instant};

pub async fn taken(bench: &Bench) {
    let node = bench.node().await;
    let template = Template {
        id: "pooled".into(),
        pool: 3,
        start: Some("echo begun > began; sleep 1000".into()),
        ready: Some("test -f began".into()),
        ..template()
    };
    node.put_template(&tenant(), template).await.unwrap();
    while node.count().1 < 3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(
        node.list(&tenant(), &Default::default(), 100, None)
            .await
            .unwrap()
            .items
            .len(),
        0,
        "nobody sees what waits"
    );
    tokio::time::sleep(Duration::from_millis(100)).await;
    let wish = Create {
        environment: [("X".to_owned(), "1".to_owned())].into(),
        ..Create::from_template("pooled")
    };
    let begun = Instant::now();
    let made = node.create(&tenant(), wish).await.unwrap();
    println!("  from the pool: {:?}", begun.elapsed());
    let (_, out, _) = run(&node, &made.id, "cat began; echo $X").await;
    assert_eq!(out, "begun\n1\n");
    node.remove_template(&tenant(), "pooled").await.unwrap();
    node.kill(&tenant(), &made.id).await.unwrap();
    while node.count().1 > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What was begun for a template before it was made anew is nobody's.
pub async fn anew(bench: &Bench) {
    let node = bench.node().await;
    let version = |n: u32| Template {
        id: "anew".into(),
        pool: 2,
        start: Some(format!("echo {n} > version")),
        ready: Some("sleep 0.3; test -f version".into()),
        ..template()
    };
    node.put_template(&tenant(), version(1)).await.unwrap();
    while node.count().1 < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    node.put_template(&tenant(), version(2)).await.unwrap();
    // Old ones are ready before new ones, and ended.
    tokio::time::sleep(Duration::from_millis(400)).await;
    for _ in 0..4 {
        let made = node
            .create(&tenant(), Create::from_template("anew"))
            .await
            .unwrap();
        assert_eq!(run(&node, &made.id, "cat version").await.1, "2\n");
        node.kill(&tenant(), &made.id).await.unwrap();
    }
    node.remove_template(&tenant(), "anew").await.unwrap();
    while node.count().1 > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
