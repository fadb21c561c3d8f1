//! Credentials: where the real value comes from and where the gateway places it.
use super::network::HostPattern;
use super::source::Source;
use qila_types::Millis;
use serde::Serialize;
use std::fmt;

/// A credential that the gateway holds. The agent gets a placeholder.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Credential {
    /// Its name, unique in the policy: letters, digits, `-` and `_`.
    pub name: String,
    /// Where the real value is read at launch, outside the sandbox.
    pub source: Source,
    /// Where in a request it goes: the placeholder is swapped wherever of these the agent puts it.
    pub placement: Placements,
    /// Hosts that may receive it; every rule that uses it must lie within.
    pub hosts: Vec<HostPattern>,
    /// Environment variables that carry the placeholder inside.
    pub env: Vec<String>,
    /// Whether a run may start without it: see [`super::Policy::without_credentials`].
    pub optional: bool,
    /// Longest life of the lease; none means the run's.
    pub ttl: Option<Millis>,
}

/// The places of one credential: at least one, no two the same.
#[derive(Debug, Clone, PartialEq)]
pub struct Placements(Vec<Placement>);

impl Placements {
    /// None: no place, or one of them twice, or a signature beside another.
    pub fn new(places: Vec<Placement>) -> Option<Placements> {
        let twice = places
            .iter()
            .enumerate()
            .any(|(i, p)| places.iter().take(i).any(|q| q == p));
        let signs = places.len() > 1 && places.contains(&Placement::SigV4);
        (!places.is_empty() && !twice && !signs).then_some(Placements(places))
    }

    /// Each.
    pub fn iter(&self) -> std::slice::Iter<'_, Placement> {
        self.0.iter()
    }

    /// Whether the request is signed.
    pub fn signs(&self) -> bool {
        self.0.contains(&Placement::SigV4)
    }

    /// Headers, by lower-case name, that the gateway writes when it places the value.
    pub fn headers(&self) -> Vec<&str> {
        self.0.iter().flat_map(Placement::headers).collect()
    }

    /// Whether a parameter of the query is one of them.
    pub fn in_query(&self, name: &str) -> bool {
        self.0
            .iter()
            .any(|p| matches!(p, Placement::Query(own) if own == name))
    }
}

impl From<Placement> for Placements {
    fn from(one: Placement) -> Placements {
        Placements(vec![one])
    }
}

/// As in a policy: the one, or a list.
impl Serialize for Placements {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => one.serialize(serializer),
            several => several.serialize(serializer),
        }
    }
}

impl fmt::Display for Placements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, place) in self.0.iter().enumerate() {
            write!(f, "{}{place}", if i > 0 { ", or " } else { "" })?;
        }
        Ok(())
    }
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
    /// The request is signed anew, with AWS Signature Version 4.
    #[serde(rename = "sigv4")]
    SigV4,
}

impl Placement {
    /// Headers, by lower-case name, that the gateway writes when it places the value.
    pub fn headers(&self) -> Vec<&str> {
        match self {
            Placement::Bearer | Placement::Basic { .. } => vec!["authorization"],
            Placement::Header(name) => vec![name],
            Placement::Query(_) => Vec::new(),
            Placement::SigV4 => vec![
                "authorization",
                "x-amz-content-sha256",
                "x-amz-date",
                "x-amz-security-token",
            ],
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
            Placement::SigV4 => f.write_str("the request's signature (AWS Signature Version 4)"),
        }
    }
}
