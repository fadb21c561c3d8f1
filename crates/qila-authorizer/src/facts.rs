//! What is known of a request beyond its method and path.
use http::HeaderMap;
use qila_policy::model::GraphQlKind;

/// What is known of a request. Nothing of it is known by default, and what is not known meets no condition.
#[derive(Debug, Clone, Copy, Default)]
pub struct HttpFacts<'a> {
    /// The query, as sent, without the `?`; none where there is none.
    pub query: Option<&'a str>,
    /// The agent's own headers, as sent.
    pub headers: Option<&'a HeaderMap>,
    /// The size of the body in bytes, as far as it is known: zero where there is none.
    pub body_size: Option<u64>,
    /// What the body says; none: it was not read.
    pub body: Option<&'a BodyFacts>,
}

/// What a body says, once it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyFacts {
    /// There is none.
    None,
    /// GraphQL operations: one, or a batch of which each must be allowed.
    GraphQl(Vec<GraphQlFacts>),
    /// MCP messages: one, or a batch of which each must be allowed.
    Mcp(Vec<McpFacts>),
    /// Something else, or something that was not understood.
    Other,
}

impl BodyFacts {
    /// Its word in the context of a decision.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            BodyFacts::None => "none",
            BodyFacts::GraphQl(_) => "graphql",
            BodyFacts::Mcp(_) => "mcp",
            BodyFacts::Other => "other",
        }
    }
}

/// One GraphQL operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphQlFacts {
    /// What it does.
    pub kind: GraphQlKind,
    /// Its name.
    pub operation: Option<String>,
    /// Its root fields, by their own names, not their aliases; those of fragments included.
    pub fields: Vec<String>,
}

/// One message of the Model Context Protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct McpFacts {
    /// What it is.
    pub kind: McpKind,
    /// The method of a request or notification; empty for a response.
    pub method: String,
    /// The tool that `tools/call` names.
    pub tool: Option<String>,
    /// Each argument's name, and its JSON text, strings without their quotes.
    pub arguments: Vec<(String, String)>,
}

/// The kinds of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum McpKind {
    /// Wants an answer.
    Request,
    /// Wants none.
    Notification,
    /// Is an answer, with a result or an error.
    Response,
}

impl McpKind {
    /// Its word in the context of a decision.
    pub(crate) fn word(self) -> &'static str {
        match self {
            McpKind::Request => "request",
            McpKind::Notification => "notification",
            McpKind::Response => "response",
        }
    }
}

/// The body that must be read before a request can be decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyNeed {
    /// Most bytes to read; a larger body meets none of the rules that look into it.
    pub limit: u64,
    /// Whether some rule reads GraphQL.
    pub graphql: bool,
    /// Whether some rule reads MCP.
    pub mcp: bool,
}
