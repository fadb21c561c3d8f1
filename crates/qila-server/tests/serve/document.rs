//! The committed description is that of the code.
use serde_json::Value;
use std::path::Path;

/// Set, the file is written instead of compared.
const UPDATE: &str = "UPDATE_OPENAPI";

#[test]
fn the_committed_description_is_that_of_the_code() {
    let at = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let now = qila_server::document();
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&at, now).unwrap();
    }
    let committed = std::fs::read_to_string(&at).unwrap_or_default();
    assert!(
        committed == now,
        "docs/openapi.json is not what the code says: run this test with {UPDATE}=1"
    );
    let document: Value = serde_json::from_str(now).unwrap();
    assert!(
        document["openapi"].as_str().unwrap().starts_with("3.1"),
        "{}",
        document["openapi"]
    );
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for name in ["Sandbox", "CreateBody", "Problem"] {
        assert!(schemas.contains_key(name), "{name}");
    }
    assert_eq!(
        schemas["CreateBody"]["additionalProperties"], false,
        "unknown fields are refused"
    );
    let mut ids = std::collections::HashSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let summary = operation["summary"].as_str().unwrap_or_default();
            assert!(
                ids.insert(operation["operationId"].to_string()),
                "{}",
                operation["operationId"]
            );
            assert!(!summary.is_empty(), "{method} {path} says what it does");
            assert!(
                operation["responses"]["default"].is_object(),
                "{method} {path} says what its errors are"
            );
        }
    }
}
