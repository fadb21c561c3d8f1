//! docs/policy.schema.json and docs/policy.md are those of this code. `QILA_BLESS=1 cargo test -p qila-policy` writes them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside a test function"
)]
use std::path::PathBuf;

fn current(name: &str, wanted: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(name);
    if std::env::var_os("QILA_BLESS").is_some_and(|v| v == "1") {
        std::fs::write(&path, wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/{name} is not current: run `QILA_BLESS=1 cargo test -p qila-policy --test docs`"
    );
}

#[test]
fn the_schema_is_current() {
    current("policy.schema.json", &format!("{:#}\n", qila_policy::schema()));
}

#[test]
fn the_reference_is_current() {
    current("policy.md", &qila_policy::reference());
}

#[test]
fn the_policies_of_the_manual_are_policies() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/gateway.md");
    let text = std::fs::read_to_string(path).unwrap();
    let blocks: Vec<&str> = text
        .split("```yaml\n")
        .skip(1)
        .map(|b| b.split("```").next().unwrap())
        .collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        let read = qila_policy::parse("gateway.md", block, &mut qila_policy::NoFiles);
        assert!(read.is_ok(), "{}", read.unwrap_err());
    }
}
