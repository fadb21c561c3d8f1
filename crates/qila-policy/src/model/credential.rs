//! Credentials: where the real value comes from and where the gateway places it.
use super::network::HostPattern;
use serde::Serialize;
use std::fmt;

/// A credential that the gateway holds. The agent gets a placeholder.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Credential {
    /// Its name, unique in the policy: letters, digits, `-` and `_`.
    pub name: String,
    /// Where the real value is read at launch, outside the sandbox.
    pub source: Source,
    /// Where in a request it goes.
    pub placement: Placement,
    /// Hosts that may receive it; every rule that uses it must lie within.
    pub hosts: Vec<HostPattern>,
    /// Environment variables that carry the placeholder inside.
    pub env: Vec<String>,
    /// Whether a run may start without it: see [`super::Policy::without_credentials`].
    pub optional: bool,
}

/// Where the real value is read.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The caller's environment variable.
    Env(String),
    /// A file on the host; one trailing newline is dropped.
    File(super::PolicyPath),
    /// A program on the host, run by Qila without a shell; its standard output, one trailing newline dropped.
    Command(Vec<String>),
}

/// Where in a request the value goes.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// `Authorization: Bearer VALUE`.
    Bearer,
    /// `NAME: VALUE`, the name in lower case.
    Header(String),
    /// `Authorization: Basic base64(username:VALUE)`.
    Basic {
        /// The user name.
        username: String,
    },
    /// `?NAME=VALUE`.
    Query(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Env(name) => write!(f, "variable {name}"),
            Source::File(path) => write!(f, "file {path}"),
            // Arguments may hold what belongs to nobody else.
            Source::Command(words) => write!(f, "program {}", words.first().map_or("", String::as_str)),
        }
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Placement::Bearer => f.write_str("the header `authorization`, as a bearer token"),
            Placement::Header(name) => write!(f, "the header `{name}`"),
            Placement::Basic { username } => write!(f, "basic authentication as `{username}`"),
            Placement::Query(name) => write!(f, "the query parameter `{name}`"),
        }
    }
}
