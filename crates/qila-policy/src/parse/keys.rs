//! Every key of policy.yaml, by clause. The reader accepts these and no others; a test holds the schema to them.

pub(crate) const ROOT: &[&str] = &[
    "version",
    "extends",
    "isolation",
    "resources",
    "filesystem",
    "network",
    "credentials",
    "budgets",
    "traces",
    "syscalls",
    "environment",
];
pub(crate) const RESOURCES: &[&str] = &[
    "cpu",
    "memory",
    "processes",
    "open_files",
    "disk",
    "disk_io",
    "wall_time",
    "output",
];
pub(crate) const HARD: &[&str] = &["hard"];
pub(crate) const DISK_IO: &[&str] = &["read", "write"];
pub(crate) const FILESYSTEM: &[&str] = &["base", "workspace", "read", "write", "hide"];
pub(crate) const BASE: &[&str] = &["directory", "oci_layout"];
pub(crate) const NETWORK: &[&str] = &["loopback", "unix_sockets", "allow", "rates"];
pub(crate) const RULE: &[&str] = &[
    "host",
    "port",
    "ports",
    "methods",
    "paths",
    "query",
    "headers",
    "body",
    "graphql",
    "mcp",
    "when",
    "credential",
    "rate",
];
pub(crate) const GRAPHQL: &[&str] = &["operations", "fields"];
pub(crate) const MCP: &[&str] = &["methods", "tools", "server"];
pub(crate) const BURST: &[&str] = &["limit", "burst"];
pub(crate) const RATES: &[&str] = &["connections", "requests", "upload", "download"];
pub(crate) const CREDENTIAL: &[&str] = &["source", "placement", "hosts", "env", "ttl", "optional"];
pub(crate) const SOURCE: &[&str] = &["command", "vault", "oauth2", "aws", "github_app"];
pub(crate) const SECRET: &[&str] = &["command"];
pub(crate) const VAULT: &[&str] = &["address", "path", "field", "token", "namespace"];
pub(crate) const OAUTH2: &[&str] = &[
    "token_url",
    "client_id",
    "client_secret",
    "scope",
    "refresh_token",
    "revoke_url",
];
pub(crate) const AWS: &[&str] = &[
    "access_key_id",
    "secret_access_key",
    "session_token",
    "region",
    "service",
];
pub(crate) const GITHUB_APP: &[&str] = &[
    "app_id",
    "installation_id",
    "private_key",
    "api",
    "repositories",
    "permissions",
];
pub(crate) const PLACEMENT: &[&str] = &["header", "basic", "query"];
pub(crate) const BUDGET: &[&str] = &["money", "tokens", "requests", "bytes", "per", "host", "window"];
pub(crate) const TRACES: &[&str] = &["content"];
pub(crate) const SYSCALLS: &[&str] = &["base", "allow", "deny"];
pub(crate) const ENVIRONMENT: &[&str] = &["pass", "set"];

/// Clauses and their keys, for a key that was written in the wrong clause.
const HOMES: &[(&str, &[&str])] = &[
    ("resources", RESOURCES),
    ("filesystem", FILESYSTEM),
    ("network", NETWORK),
    ("network.allow", RULE),
    ("network.rates", RATES),
    ("network.allow.graphql", GRAPHQL),
    ("network.allow.mcp", MCP),
    ("credentials.NAME", CREDENTIAL),
    ("credentials.NAME.source", SOURCE),
    ("credentials.NAME.source.vault", VAULT),
    ("credentials.NAME.source.oauth2", OAUTH2),
    ("credentials.NAME.source.aws", AWS),
    ("credentials.NAME.source.github_app", GITHUB_APP),
    ("budgets", BUDGET),
    ("traces", TRACES),
    ("environment", ENVIRONMENT),
    ("the top level", ROOT),
];

/// What to say about a key that this clause does not have.
pub(crate) fn advice(key: &str, allowed: &[&str]) -> String {
    if let Some(near) = nearest(key, allowed.iter().copied()) {
        return format!("did you mean `{near}`?");
    }
    if let Some((home, _)) = HOMES.iter().find(|(_, keys)| keys.contains(&key)) {
        return format!("`{key}` belongs in {home}");
    }
    format!("valid here: {}", allowed.join(", "))
}

/// The closest of some names, if one is close enough to be what was meant.
pub(crate) fn nearest<'a>(text: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    // Comparing costs the product of the lengths; no valid name is this long.
    if text.len() > 128 {
        return None;
    }
    let lower = text.to_ascii_lowercase().replace('-', "_");
    let near = |name: &str| strsim::damerau_levenshtein(&lower, &name.to_ascii_lowercase().replace('-', "_"));
    let (distance, name) = names.into_iter().map(|n| (near(n), n)).min()?;
    (distance <= (name.len() / 3).max(1)).then(|| name.to_owned())
}
