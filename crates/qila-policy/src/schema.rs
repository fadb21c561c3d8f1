//! The JSON Schema of policy.yaml and the reference page made from it. Nothing here runs unless it is asked for.
mod form;
mod reference;

pub use reference::reference;
use serde_json::Value;

/// The JSON Schema (2020-12) of policy.yaml, version 1. It says what is well-formed; what contradicts itself only
/// [`crate::parse`] knows.
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(form::PolicyFile).to_value();
    if let Some(object) = schema.as_object_mut() {
        object.insert("title".to_owned(), Value::from("Qila policy"));
        object.insert(
            "$id".to_owned(),
            Value::from("https://github.com/qila-dev/qila/blob/main/docs/policy.schema.json"),
        );
    }
    schema
}
