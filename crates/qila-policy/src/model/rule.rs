//! What one allow rule asks of a connection or a request.
use super::condition::Condition;
use super::glob::{PathGlob, TextGlob};
use super::network::HostPattern;
use qila_types::{Bytes, Rate};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Largest body that is read whole to decide over it, where the rule names no other bound.
pub const READ_BOUND: Bytes = Bytes(1 << 20);

/// One allow rule. A rule that asks anything about a request, or places a credential, is intercepted: TLS ends at the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct NetRule {
    /// Which hosts.
    pub host: HostPattern,
    /// Which ports; never empty.
    pub ports: Vec<u16>,
    /// Which HTTP methods, in upper case; none means any.
    pub methods: Option<Vec<String>>,
    /// Which HTTP paths; none means any.
    pub paths: Option<Vec<PathGlob>>,
    /// Query parameters that must be there, once each, and match.
    pub query: BTreeMap<String, TextGlob>,
    /// Headers that must be there, once each, and match; names in lower case.
    pub headers: BTreeMap<String, TextGlob>,
    /// Largest body of a request.
    pub body: Option<Bytes>,
    /// The body is a GraphQL operation such as this.
    pub graphql: Option<GraphQlRule>,
    /// The body is a message of the Model Context Protocol such as this.
    pub mcp: Option<McpRule>,
    /// An expert condition.
    pub when: Option<Condition>,
    /// Name of the credential that is placed into matching requests.
    pub credential: Option<String>,
    /// Requests (or connections, where not intercepted) under this rule.
    pub rate: Option<Rate>,
}

impl NetRule {
    /// A rule that asks for nothing but a host, on port 443.
    pub fn to(host: HostPattern) -> NetRule {
        NetRule {
            host,
            ports: vec![443],
            methods: None,
            paths: None,
            query: BTreeMap::new(),
            headers: BTreeMap::new(),
            body: None,
            graphql: None,
            mcp: None,
            when: None,
            credential: None,
            rate: None,
        }
    }

    /// Whether TLS under this rule ends at the gateway.
    pub fn intercepts(&self) -> bool {
        self.reason_to_intercept().is_some()
    }

    /// What of this rule can only be enforced where TLS ends at the gateway, in words; none if nothing is.
    pub fn reason_to_intercept(&self) -> Option<&'static str> {
        let asks = [
            (self.methods.is_some(), "methods"),
            (self.paths.is_some(), "paths"),
            (!self.query.is_empty(), "a condition on the query"),
            (!self.headers.is_empty(), "a condition on headers"),
            (self.body.is_some(), "a bound on the body"),
            (self.graphql.is_some(), "`graphql`"),
            (self.mcp.is_some(), "`mcp`"),
            (self.when.is_some(), "`when`"),
            (self.credential.is_some(), "a credential"),
        ];
        asks.into_iter().find(|(asked, _)| *asked).map(|(_, what)| what)
    }

    /// The largest body of a request: the rule's own bound, or [`READ_BOUND`] where the body is read whole; none means any.
    pub fn body_bound(&self) -> Option<Bytes> {
        self.body.or(self.reads_body().then_some(READ_BOUND))
    }

    /// Whether it takes the body of a request, not only its size, to decide.
    pub fn reads_body(&self) -> bool {
        let when = self.when.as_ref().map(Condition::reads);
        self.graphql.is_some() || self.mcp.is_some() || when.is_some_and(|r| r.graphql || r.mcp || r.body)
    }
}

/// What a GraphQL request may do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize)]
pub struct GraphQlRule {
    /// Kinds of operation; none means any.
    pub operations: Option<BTreeSet<GraphQlKind>>,
    /// What every root field of the operation must match one of; none means any field.
    pub fields: Option<Vec<TextGlob>>,
}

/// A kind of GraphQL operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GraphQlKind {
    /// Reads.
    Query,
    /// Writes.
    Mutation,
    /// Stays open.
    Subscription,
}

impl GraphQlKind {
    /// Every kind.
    pub const ALL: [GraphQlKind; 3] = [
        GraphQlKind::Query,
        GraphQlKind::Mutation,
        GraphQlKind::Subscription,
    ];

    /// Its word in GraphQL.
    pub fn as_str(self) -> &'static str {
        match self {
            GraphQlKind::Query => "query",
            GraphQlKind::Mutation => "mutation",
            GraphQlKind::Subscription => "subscription",
        }
    }
}

impl std::fmt::Display for GraphQlKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which messages of the Model Context Protocol (JSON-RPC 2.0 over HTTP) go to and fro under a rule. Any other body is refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct McpRule {
    /// What the method of the agent's requests and notifications must match one of; none means any.
    pub methods: Option<Vec<TextGlob>>,
    /// Tools that may be called, with what their arguments must be; none means any tool. Several patterns may name one tool:
    /// it is enough that one of them allows the call.
    pub tools: Option<BTreeMap<TextGlob, BTreeMap<String, TextGlob>>>,
    /// What the method of the server's requests and notifications must match one of.
    pub server: Vec<TextGlob>,
}

impl McpRule {
    /// What a server may send unless the policy says otherwise.
    pub fn default_server() -> Vec<TextGlob> {
        vec![TextGlob::literal("notifications/*")]
    }

    /// Whether the agent may answer the server: it may where the server may ask, and nobody answers a notification.
    pub fn answers(&self) -> bool {
        self.server
            .iter()
            .any(|g| !g.as_str().starts_with("notifications/"))
    }
}
