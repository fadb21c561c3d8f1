//! Where the real value of a credential comes from.
use super::filesystem::PolicyPath;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Where the real value is read or minted.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The caller's environment variable.
    Env(String),
    /// A file on the host; one trailing newline is dropped.
    File(PolicyPath),
    /// A program on the host, run by Qila without a shell; its standard output, one trailing newline dropped.
    Command(Vec<String>),
    /// HashiCorp Vault, over its HTTP API.
    Vault(Vault),
    /// An OAuth 2.0 token endpoint.
    Oauth2(Oauth2),
    /// Keys of AWS, with which requests are signed.
    Aws(Aws),
    /// An installation token of a GitHub App.
    GithubApp(GithubApp),
}

/// Where a secret that leads to another is read: `env:NAME`, `file:PATH` or `{command: […]}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretRef {
    /// The caller's environment variable.
    Env(String),
    /// A file on the host; one trailing newline is dropped.
    File(PolicyPath),
    /// A program on the host, run by Qila without a shell; its standard output, one trailing newline dropped.
    Command(Vec<String>),
}

/// A URL of a service that Qila itself asks, outside: `https://`, or `http://` to the host's own loopback; no user, query or
/// fragment, no trailing `/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServiceUrl(pub String);

impl fmt::Display for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A secret of Vault: KV version 1 or 2, or a dynamic one, which has a lease of its own.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Vault {
    /// Where Vault is.
    pub address: ServiceUrl,
    /// The path of the secret beneath `/v1/`: `secret/data/openai`, `database/creds/reader`.
    pub path: String,
    /// The field of the secret.
    pub field: String,
    /// The token with which Vault is asked.
    pub token: SecretRef,
    /// Its namespace (Vault Enterprise).
    pub namespace: Option<String>,
}

/// Client credentials, or a refresh token, at a token endpoint.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Oauth2 {
    /// The token endpoint.
    pub token_url: ServiceUrl,
    /// The client.
    pub client_id: String,
    /// The client's secret; a public client, which only refreshes, has none.
    pub client_secret: Option<SecretRef>,
    /// Scopes, a space between each.
    pub scope: Option<String>,
    /// The refresh token; with it the grant is `refresh_token`, without it `client_credentials`.
    pub refresh_token: Option<SecretRef>,
    /// Where the token is revoked (RFC 7009).
    pub revoke_url: Option<ServiceUrl>,
}

/// Keys of AWS.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Aws {
    /// The key's id.
    pub access_key_id: SecretRef,
    /// The key.
    pub secret_access_key: SecretRef,
    /// The token of a session, for temporary keys.
    pub session_token: Option<SecretRef>,
    /// The region that is signed for, such as `eu-central-1`.
    pub region: String,
    /// The service that is signed for, such as `s3`.
    pub service: String,
}

/// An installation of a GitHub App.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GithubApp {
    /// The App.
    pub app_id: u64,
    /// The installation.
    pub installation_id: u64,
    /// The App's private key, in PEM.
    pub private_key: SecretRef,
    /// The API, `https://api.github.com` unless it is an Enterprise server.
    pub api: ServiceUrl,
    /// Names of repositories; empty means all of the installation's.
    pub repositories: BTreeSet<String>,
    /// Permissions; empty means all of the installation's.
    pub permissions: BTreeMap<String, Access>,
}

/// How far a permission of a GitHub App goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Reading.
    Read,
    /// Reading and writing.
    Write,
    /// All of it.
    Admin,
}

impl Access {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Access::Read => "read",
            Access::Write => "write",
            Access::Admin => "admin",
        }
    }
}

impl Source {
    /// Every secret outside that this source reads.
    pub fn secrets(&self) -> Vec<SecretRef> {
        match self {
            Source::Env(name) => vec![SecretRef::Env(name.clone())],
            Source::File(path) => vec![SecretRef::File(path.clone())],
            Source::Command(words) => vec![SecretRef::Command(words.clone())],
            Source::Vault(v) => vec![v.token.clone()],
            Source::Oauth2(o) => o.client_secret.iter().chain(&o.refresh_token).cloned().collect(),
            Source::Aws(a) => [&a.access_key_id, &a.secret_access_key]
                .into_iter()
                .chain(&a.session_token)
                .cloned()
                .collect(),
            Source::GithubApp(g) => vec![g.private_key.clone()],
        }
    }

    /// Whether the value is minted by a service, so that it can be short-lived and revoked.
    pub fn mints(&self) -> bool {
        matches!(self, Source::Vault(_) | Source::Oauth2(_) | Source::GithubApp(_))
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretRef::Env(name) => write!(f, "variable {name}"),
            SecretRef::File(path) => write!(f, "file {path}"),
            // Arguments may hold what belongs to nobody else.
            SecretRef::Command(words) => write!(f, "program {}", words.first().map_or("", String::as_str)),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Env(_) | Source::File(_) | Source::Command(_) => match self.secrets().first() {
                Some(secret) => write!(f, "{secret}"),
                None => Ok(()),
            },
            Source::Vault(v) => write!(f, "Vault at {}, {}", v.address, v.path),
            Source::Oauth2(o) => write!(f, "the OAuth 2.0 endpoint {}", o.token_url),
            Source::Aws(a) => write!(f, "keys of AWS ({}, {})", a.service, a.region),
            Source::GithubApp(g) => write!(f, "GitHub App {}, installation {}", g.app_id, g.installation_id),
        }
    }
}
