//! Nodes whose process is killed.
use crate::cases::{Bench, run, sandbox, tenant};
use crate::lives::template;
use qila_api::{Create, Fork, Node, SandboxId, Template};
use rustix::process::{Signal, getpid, kill_process};
use std::time::Duration;

/// The variable that tells the process that is to be killed which directory is its node's.
pub const DIR: &str = "QILA_TEST_CRASH";
/// The file in it that says what it has made.
const MADE: &str = "made";

/// What the process does that is to be killed.
pub async fn to_be_killed(bench: &Bench) {
    let node = bench.node().await;
    let pooled = Template {
        id: "pooled".into(),
        pool: 1,
        ..template()
    };
    node.put_template(&tenant(), pooled).await.unwrap();
    while node.count().1 < 1 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // The one in the pool is older than all others, and found first.
    let made = sandbox(&node).await;
    run(&node, &made.id, "echo kept > file").await;
    let child = node.fork(&tenant(), &made.id, Fork::default()).await.unwrap();
    node.kill(&tenant(), &made.id).await.unwrap();
    std::fs::write(bench.dir.join(MADE), child.id.as_str()).unwrap();
    kill_process(getpid(), Signal::KILL).unwrap();
}

/// What nobody but a sandbox that was not found yet lies on stays while others are ended.
pub async fn pool_and_fork(bench: &Bench) {
    let beside = bench.beside();
    let mut first = std::process::Command::new(std::env::current_exe().unwrap());
    let status = first.env(DIR, &beside.dir).status().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    let made = std::fs::read_to_string(beside.dir.join(MADE)).unwrap();
    let child = SandboxId::parse(&made).unwrap();
    let (node, found) = beside.start().await;
    assert_eq!(found.adopted, 2, "{found:?}");
    assert_eq!(run(&node, &child, "cat file").await.1, "kept\n");
    let again = node.fork(&tenant(), &child, Fork::default()).await.unwrap();
    assert_eq!(run(&node, &again.id, "cat file").await.1, "kept\n");
    let pooled = node
        .create(&tenant(), Create::from_template("pooled"))
        .await
        .unwrap();
    assert_eq!(run(&node, &pooled.id, "true").await.0.code, Some(0));
    beside.done().await;
}
