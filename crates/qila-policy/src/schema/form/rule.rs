//! The rules of `network.allow`, and rates.
use super::{Flow, Glob, Host, Method, Name, Rate, Size, Text};
use schemars::JsonSchema;
use std::collections::BTreeMap;

#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum RuleForm {
    Short(Host),
    Long(Rule),
}

/// One rule. One that asks anything about a request, or places a credential, is intercepted: TLS ends at the gateway.
/// Otherwise a connection passes through untouched. All that a rule asks must hold; where several rules match, one that places a
/// credential comes first, then the first of the list.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Rule {
    /// Which hosts.
    host: Host,
    /// Which port. Default: 443.
    #[schemars(range(min = 1, max = 65_535))]
    port: Option<u32>,
    /// Which ports, instead of `port`.
    #[schemars(length(min = 1), inner(range(min = 1, max = 65_535)))]
    ports: Option<Vec<u32>>,
    /// Which HTTP methods. Default: any.
    #[schemars(length(min = 1))]
    methods: Option<Vec<Method>>,
    /// Which HTTP paths. Default: any.
    #[schemars(length(min = 1))]
    paths: Option<Vec<Glob>>,
    /// Query parameters, by name as it is after decoding: each must be there once and match. One that stands twice, also in
    /// another case, or that cannot be decoded plainly, does not match. A pattern with a `/` matches no value with a `..` part.
    #[schemars(length(min = 1, max = 64))]
    query: Option<BTreeMap<String, Text>>,
    /// Headers, by name in lower case: each must be there once and match. Not those that frame or route the request, which the
    /// gateway writes anew (`host`, `content-length`, `connection` and the like).
    #[schemars(length(min = 1, max = 64))]
    headers: Option<BTreeMap<String, Text>>,
    /// The largest body of a request; WebSocket, whose messages are no body, is then refused. What `graphql`, `mcp` and `when` read of a body is 1MiB at most unless this says otherwise.
    body: Option<Size>,
    /// The body is one GraphQL operation such as this. Not together with `mcp`.
    graphql: Option<GraphQl>,
    /// The body is one message of the Model Context Protocol such as this. Not together with `graphql`.
    mcp: Option<Mcp>,
    /// An expert condition in Cedar over `context`: `method`, `path`, `host`, `port`, `query` and `headers` (records of what is
    /// there once), `body` (`"none"`, `"graphql"`, `"mcp"` or `"other"`), `body_size`, `upgrade` (to WebSocket), `graphql` (`kind`,
    /// `operation`, `fields`), `mcp` (`kind`, `method`, `tool`, `arguments`). It is validated when the policy is read; what it cannot evaluate is denied.
    when: Option<String>,
    /// The credential that is placed into matching requests.
    credential: Option<Name>,
    /// Requests (connections, where TLS passes through) under this rule.
    rate: Option<RateForm>,
}

/// What a GraphQL request may do. It is one operation; a request that holds several says which one it means.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct GraphQl {
    /// Kinds of operation. Default: any.
    #[schemars(length(min = 1))]
    operations: Option<Vec<Operation>>,
    /// Patterns, of which every root field of the operation must match one. Default: any field.
    #[schemars(length(min = 1, max = 64))]
    fields: Option<Vec<Text>>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Operation {
    Query,
    Mutation,
    Subscription,
}

/// Messages of the Model Context Protocol: JSON-RPC over HTTP, answers as JSON or as an event stream. Any other body is refused;
/// `GET` and `DELETE` without a body open a stream and end a session.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Mcp {
    /// Patterns, of which the method of what the agent sends must match one: `tools/call`, `notifications/*`. Default: any.
    #[schemars(length(min = 1, max = 64))]
    methods: Option<Vec<Text>>,
    /// Tools that may be called, by pattern, and what their arguments must be: each named one must be there and match, in its JSON
    /// text, strings without their quotes. A pattern with a `/` matches no value with a `..` part. Default: any tool.
    #[schemars(length(min = 1, max = 64))]
    tools: Option<BTreeMap<String, BTreeMap<String, Text>>>,
    /// Patterns, of which the method of what the server sends must match one. The agent may answer where the server may ask.
    /// Default: `notifications/*`.
    #[schemars(length(min = 1, max = 64))]
    server: Option<Vec<Text>>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum RateForm {
    Text(Rate),
    Map(Burst),
}

/// A rate and its burst.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Burst {
    /// The rate.
    limit: Rate,
    /// How many may come at once. Default: one window's worth.
    #[schemars(range(min = 1))]
    burst: Option<u32>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum FlowForm {
    Text(Flow),
    Map(ByteBurst),
}

/// A byte rate and its burst.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct ByteBurst {
    /// The rate.
    limit: super::ByteRate,
    /// How many bytes may come at once. Default: one second's worth.
    burst: Option<Size>,
}

/// Rates over the whole sandbox.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Rates {
    /// New connections.
    connections: Option<RateForm>,
    /// HTTP requests.
    requests: Option<RateForm>,
    /// Bytes sent by the agent.
    upload: Option<FlowForm>,
    /// Bytes received by the agent.
    download: Option<FlowForm>,
}
