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

#[cfg(test)]
mod tests {
    use crate::parse::keys;
    use std::collections::BTreeSet;

    /// The reader and the schema know the same keys, in every clause.
    #[test]
    fn the_schema_has_the_keys_of_the_reader() {
        let schema = super::schema();
        let cases: &[(&str, &[&str])] = &[
            ("", keys::ROOT),
            ("/$defs/Resources", keys::RESOURCES),
            ("/$defs/Hard", keys::HARD),
            ("/$defs/DiskIo", keys::DISK_IO),
            ("/$defs/Filesystem", keys::FILESYSTEM),
            ("/$defs/BasePath", keys::BASE),
            ("/$defs/Network", keys::NETWORK),
            ("/$defs/Rule", keys::RULE),
            ("/$defs/GraphQl", keys::GRAPHQL),
            ("/$defs/Mcp", keys::MCP),
            ("/$defs/Burst", keys::BURST),
            ("/$defs/ByteBurst", keys::BURST),
            ("/$defs/Rates", keys::RATES),
            ("/$defs/Credential", keys::CREDENTIAL),
            ("/$defs/Source", keys::SOURCE),
            ("/$defs/Command", keys::SECRET),
            ("/$defs/Vault", keys::VAULT),
            ("/$defs/Oauth2", keys::OAUTH2),
            ("/$defs/Aws", keys::AWS),
            ("/$defs/GithubApp", keys::GITHUB_APP),
            ("/$defs/Budget", keys::BUDGET),
            ("/$defs/Traces", keys::TRACES),
            ("/$defs/Placement", keys::PLACEMENT),
            ("/$defs/Syscalls", keys::SYSCALLS),
            ("/$defs/Environment", keys::ENVIRONMENT),
        ];
        for (pointer, wanted) in cases {
            let definition = schema.pointer(pointer).unwrap();
            let found: BTreeSet<&str> = definition["properties"]
                .as_object()
                .unwrap()
                .keys()
                .map(String::as_str)
                .collect();
            assert_eq!(found, wanted.iter().copied().collect(), "{pointer}");
            assert_eq!(definition["additionalProperties"], false, "{pointer}");
        }
        // A clause that was added to the schema must be added above.
        let objects = schema["$defs"]
            .as_object()
            .unwrap()
            .values()
            .filter(|d| d.get("properties").is_some());
        assert_eq!(objects.count() + 1, cases.len());
    }
}
