//! What is done before port 49999 is spoken to.
use crate::support::Fake;
use qila_api::{Create, Kind, Node, SandboxId, Tenant};
use qila_e2b::Interpreter;
use std::sync::Arc;
use std::sync::atomic::Ordering;

#[tokio::test]
async fn the_interpreter_is_asked_for_once_and_its_failure_is_told() {
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
    if std::path::Path::new("/run/qila/interpreter").exists()
        || tokio::net::TcpStream::connect(("127.0.0.1", 49999)).await.is_ok()
    {
        println!("skipped: this host has an interpreter of its own");
        return;
    }
    let error = interpreter.before_port(&sandbox.id, 49999).await.unwrap_err();
    assert_eq!(error.kind, Kind::NotFound, "{error}");
    assert_eq!(node.execs.load(Ordering::Relaxed), 1);
}
