//! What is done before port 49999 is spoken to.
use crate::support::Fake;
use qila_api::{Create, Kind, Node, SandboxId, Tenant};
use qila_e2b::Interpreter;
use std::sync::Arc;
use std::sync::atomic::Ordering;

#[tokio::test]
async fn the_interpreters_failure_is_told() {
    let node = Fake::new();
    let sandbox = node
        .create(&Tenant::parse("one").unwrap(), Create::from_template("base"))
        .await
        .unwrap();
    let interpreter = Arc::new(Interpreter::new(node.clone()));
    // Other ports are none of its business, whatever is there.
    interpreter
        .before_port(&SandboxId::parse("none").unwrap(), 8080)
        .await
        .unwrap();
    let unknown = interpreter
        .before_port(&SandboxId::parse("none").unwrap(), 49999)
        .await
        .unwrap_err();
    assert_eq!(unknown.kind, Kind::NotFound);
    // In this node's sandboxes the program is not there: whoever waits is told, and nobody waits for ever.
    if std::path::Path::new("/run/qila/interpreter").exists() {
        println!("skipped: this host has an interpreter of its own");
        return;
    }
    let error = interpreter.before_port(&sandbox.id, 49999).await.unwrap_err();
    assert_eq!(error.kind, Kind::NotFound, "{error}");
    assert_eq!(node.execs.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn it_is_started_once_however_many_ask() {
    let node = Fake::new();
    node.stands_in.store(true, Ordering::Relaxed);
    let tenant = Tenant::parse("one").unwrap();
    let sandbox = node.create(&tenant, Create::from_template("base")).await.unwrap();
    let interpreter = Arc::new(Interpreter::new(node.clone()));
    let all = (0..32).map(|_| {
        let (interpreter, id) = (interpreter.clone(), sandbox.id.clone());
        tokio::spawn(async move { interpreter.before_port(&id, 49999).await })
    });
    for one in all.collect::<Vec<_>>() {
        one.await.unwrap().unwrap();
    }
    interpreter.before_port(&sandbox.id, 49999).await.unwrap();
    assert_eq!(node.execs.load(Ordering::Relaxed), 1);
    let running = node.processes(&tenant, &sandbox.id).await.unwrap();
    assert_eq!(running[0].exec.tag.as_deref(), Some("qila-interpreter"));
    // One that goes away leaves the others their turn.
    *node.interpreter.lock().unwrap() = None;
    node.kill(&tenant, &sandbox.id).await.unwrap();
    let gone = interpreter.before_port(&sandbox.id, 49999).await.unwrap_err();
    assert_eq!(gone.kind, Kind::NotFound);
}
