//! docs/policy.md: the policy reference, made from the schema.
use crate::preset::PRESETS;
use serde_json::Value;
use std::fmt::Write;

const HEAD: &str = include_str!("head.md");

/// Clauses and the definition that describes each.
const SECTIONS: &[(&str, &str)] = &[
    ("resources", "Resources"),
    ("resources.disk_io", "DiskIo"),
    ("filesystem", "Filesystem"),
    ("filesystem.base", "BasePath"),
    ("network", "Network"),
    ("network.allow[]", "Rule"),
    ("network.allow[].graphql", "GraphQl"),
    ("network.allow[].mcp", "Mcp"),
    ("network.rates", "Rates"),
    ("credentials.NAME", "Credential"),
    ("credentials.NAME.source", "Source"),
    ("credentials.NAME.source.vault", "Vault"),
    ("credentials.NAME.source.oauth2", "Oauth2"),
    ("credentials.NAME.source.aws", "Aws"),
    ("credentials.NAME.source.github_app", "GithubApp"),
    ("credentials.NAME.placement", "Placement"),
    ("budgets[]", "Budget"),
    ("traces", "Traces"),
    ("syscalls", "Syscalls"),
    ("environment", "Environment"),
];

/// Values and the definition that describes each.
const VALUES: &[&str] = &[
    "Size",
    "ByteRate",
    "Rate",
    "Flow",
    "Duration",
    "Money",
    "Path",
    "Host",
    "Method",
    "Glob",
    "Text",
    "Url",
    "VariablePattern",
];

/// The policy reference as Markdown.
pub fn reference() -> String {
    let schema = super::schema();
    let mut out = HEAD.to_owned();
    out += "\n## The file\n\n";
    table(&mut out, &schema);
    for (clause, name) in SECTIONS {
        let definition = schema.pointer(&format!("/$defs/{name}")).unwrap_or(&Value::Null);
        let _ = write!(out, "\n## `{clause}`\n\n{}\n\n", description(definition));
        table(&mut out, definition);
    }
    out += "\n## Values\n\n| value | form |\n|---|---|\n";
    for name in VALUES {
        let definition = schema.pointer(&format!("/$defs/{name}")).unwrap_or(&Value::Null);
        let _ = writeln!(
            out,
            "| {} | {} |",
            name.to_lowercase(),
            cell(&description(definition))
        );
    }
    out += "\n## Built-in policies\n\n| name | for |\n|---|---|\n";
    for preset in PRESETS {
        let _ = writeln!(out, "| `{}` | {} |", preset.name, preset.summary);
    }
    for preset in PRESETS {
        let _ = write!(out, "\n### `{}`\n\n```yaml\n{}```\n", preset.name, preset.text);
    }
    out
}

fn table(out: &mut String, definition: &Value) {
    *out += "| key | needed | meaning |\n|---|---|---|\n";
    let required = definition.get("required").and_then(Value::as_array);
    for (key, property) in definition
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let needed = required.is_some_and(|r| r.iter().any(|k| k.as_str() == Some(key)));
        let needed = if needed { "yes" } else { "" };
        let _ = writeln!(out, "| `{key}` | {needed} | {} |", cell(&description(property)));
    }
}

fn description(value: &Value) -> String {
    value
        .get("description")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn cell(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|")
}
