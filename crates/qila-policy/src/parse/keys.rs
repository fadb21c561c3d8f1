//! Every key of policy.yaml, by clause. The reader accepts these and no others; a test holds the schema to them.

pub(crate) const ROOT: &[&str] = &[
    "version",
    "extends",
    "isolation",
    "resources",
    "filesystem",
    "network",
    "credentials",
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
pub(crate) const RULE: &[&str] = &["host", "port", "ports", "methods", "paths", "credential", "rate"];
pub(crate) const RATES: &[&str] = &["connections", "requests", "upload", "download"];
pub(crate) const CREDENTIAL: &[&str] = &["source", "placement", "hosts", "env", "optional"];
pub(crate) const SOURCE: &[&str] = &["command"];
pub(crate) const PLACEMENT: &[&str] = &["header", "basic", "query"];
pub(crate) const SYSCALLS: &[&str] = &["base", "allow", "deny"];
pub(crate) const ENVIRONMENT: &[&str] = &["pass", "set"];

/// Clauses and their keys, for a key that was written in the wrong clause.
const HOMES: &[(&str, &[&str])] = &[
    ("resources", RESOURCES),
    ("filesystem", FILESYSTEM),
    ("network", NETWORK),
    ("network.allow", RULE),
    ("network.rates", RATES),
    ("credentials.NAME", CREDENTIAL),
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
