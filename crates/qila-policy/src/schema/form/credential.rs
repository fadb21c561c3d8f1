//! Credentials and where they come from.
use super::{Duration, Header, Host, SourceText, Url, Variable};
use schemars::JsonSchema;
use std::collections::BTreeMap;

/// A credential.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Credential {
    /// Where the real value is read or minted, outside: `env:NAME`, `file:PATH`, a command's output, or a service.
    source: SourceForm,
    /// Where in a request it goes: `bearer`, `{header: NAME}`, `{basic: USERNAME}`, `{query: NAME}`, or `sigv4`, which signs the
    /// request with keys of AWS. A list: wherever of these the agent puts the placeholder.
    placement: PlacementsForm,
    /// Hosts that may receive it. Every rule that uses it lies within, and every host is allowed by such a rule.
    #[schemars(length(min = 1))]
    hosts: Vec<Host>,
    /// Variables that carry the placeholder inside.
    env: Option<Vec<Variable>>,
    /// Longest life of the lease, 24h at most; then it is minted or read anew. Default: the run's.
    ttl: Option<Duration>,
    /// Whether a run may start without it. If the source gives no value, the credential, its variables and every rule that
    /// uses it are left out: what they allowed is denied. Default: false, and a missing value stops the launch.
    optional: Option<bool>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum SourceForm {
    Text(SourceText),
    Map(Source),
}

/// A program or a service, asked by Qila outside; one of these.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Source {
    /// A program on the host and its arguments, run without a shell; its standard output is the value, one trailing newline dropped.
    #[schemars(length(min = 1, max = 64))]
    command: Option<Vec<String>>,
    /// A secret of HashiCorp Vault.
    vault: Option<Vault>,
    /// A token of an OAuth 2.0 endpoint.
    oauth2: Option<Oauth2>,
    /// Keys of AWS; with `placement: sigv4` and no other.
    aws: Option<Aws>,
    /// An installation token of a GitHub App.
    github_app: Option<GithubApp>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum SecretForm {
    Text(SourceText),
    Command(Command),
}

/// A program on the host, run by Qila without a shell.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Command {
    /// The program and its arguments; its standard output is the value, one trailing newline dropped.
    #[schemars(length(min = 1, max = 64))]
    command: Vec<String>,
}

/// A secret of HashiCorp Vault: KV version 1 or 2, or a dynamic one, whose lease is revoked when the run ends.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Vault {
    /// Where Vault is.
    address: Url,
    /// The path beneath `/v1/`: `secret/data/openai`, `database/creds/reader`.
    path: String,
    /// The field of the secret.
    field: String,
    /// The token with which Vault is asked.
    token: SecretForm,
    /// Its namespace (Vault Enterprise).
    namespace: Option<String>,
}

/// An OAuth 2.0 token endpoint: client credentials, or a refresh token if one is given.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Oauth2 {
    /// The token endpoint.
    token_url: Url,
    /// The client.
    client_id: String,
    /// The client's secret; may be left out where there is a refresh token.
    client_secret: Option<SecretForm>,
    /// Scopes, one space between each.
    scope: Option<String>,
    /// A refresh token.
    refresh_token: Option<SecretForm>,
    /// Where the token is revoked when the run ends (RFC 7009).
    revoke_url: Option<Url>,
}

/// Keys of AWS, with which the gateway signs requests anew (Signature Version 4). The agent's own signature is thrown away.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Aws {
    /// The key's id.
    access_key_id: SecretForm,
    /// The key.
    secret_access_key: SecretForm,
    /// The token of a session, for temporary keys.
    session_token: Option<SecretForm>,
    /// The region that is signed for: `eu-central-1`.
    region: String,
    /// The service that is signed for: `s3`.
    service: String,
}

/// An installation token of a GitHub App, minted for the run and revoked when it ends.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct GithubApp {
    /// The App.
    #[schemars(range(min = 1))]
    app_id: u64,
    /// The installation.
    #[schemars(range(min = 1))]
    installation_id: u64,
    /// The App's private key, in PEM.
    private_key: SecretForm,
    /// The API. Default: `https://api.github.com`.
    api: Option<Url>,
    /// Names of repositories, without their owner. Default: all of the installation's.
    #[schemars(length(min = 1, max = 500))]
    repositories: Option<Vec<String>>,
    /// Permissions, such as `contents: read`. Default: all of the installation's.
    #[schemars(length(min = 1))]
    permissions: Option<BTreeMap<String, Access>>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Access {
    Read,
    Write,
    Admin,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum PlacementsForm {
    One(PlacementForm),
    Several(#[schemars(length(min = 1))] Vec<PlacementForm>),
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum PlacementForm {
    Word(PlacementWord),
    Other(Placement),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum PlacementWord {
    Bearer,
    Sigv4,
}

/// Where in a request the value goes; one of the three.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Placement {
    /// `NAME: VALUE`.
    header: Option<Header>,
    /// `Authorization: Basic`, with this user name and the value as the password.
    basic: Option<String>,
    /// `?NAME=VALUE`.
    query: Option<String>,
}
