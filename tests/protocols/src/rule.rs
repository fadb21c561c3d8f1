//! Kinds of rule, each with a host of its own, so that one policy holds them all.

/// A kind of rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// A host and nothing else: bytes pass through untouched.
    Host,
    /// Methods and paths: intercepted.
    Paths,
    /// A credential is placed.
    Credential,
    /// Conditions on the query.
    Query,
    /// Conditions on header fields.
    Headers,
    /// The largest body.
    Body,
    /// A GraphQL operation.
    Graphql,
    /// MCP methods, tools and arguments.
    Mcp,
    /// An expert Cedar condition.
    When,
}

impl Rule {
    /// All of them.
    pub const ALL: [Rule; 9] = [
        Rule::Host,
        Rule::Paths,
        Rule::Credential,
        Rule::Query,
        Rule::Headers,
        Rule::Body,
        Rule::Graphql,
        Rule::Mcp,
        Rule::When,
    ];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Rule::Host => "host",
            Rule::Paths => "paths",
            Rule::Credential => "credential",
            Rule::Query => "query",
            Rule::Headers => "headers",
            Rule::Body => "body",
            Rule::Graphql => "graphql",
            Rule::Mcp => "mcp",
            Rule::When => "when",
        }
    }

    /// The host that has this rule.
    pub fn host(self) -> &'static str {
        match self {
            Rule::Host => "pass.test",
            Rule::Paths => "rule.test",
            Rule::Credential => "key.test",
            Rule::Query => "query.test",
            Rule::Headers => "headers.test",
            Rule::Body => "body.test",
            Rule::Graphql => "graphql.test",
            Rule::Mcp => "mcp.test",
            Rule::When => "when.test",
        }
    }

    /// Its lines in `network.allow`.
    pub fn yaml(self) -> String {
        let both = "ports: [80, 443]";
        let host = self.host();
        let more = match self {
            Rule::Host => return format!("    - {{host: {host}, {both}}}\n"),
            Rule::Paths => format!("{both}, methods: [GET, POST, PUT], paths: {PATHS}"),
            Rule::Credential => {
                let models = ["openai", "anthropic"].map(|name| {
                    format!("    - {{host: api.{name}.com, methods: [POST], paths: [\"/v1/**\"], credential: {name}}}\n")
                });
                return format!(
                    "    - {{host: {host}, methods: [GET, POST, PUT], paths: {PATHS}, credential: matrix}}\n    \
                     - {{host: lies.test, methods: [GET], credential: liar}}\n{}",
                    models.concat()
                );
            }
            Rule::Query => format!("{both}, query: {{page: \"[0-9]*\"}}"),
            Rule::Headers => format!("{both}, headers: {{x-kind: \"good*\"}}"),
            Rule::Body => format!("{both}, body: 1KiB"),
            Rule::Graphql => "graphql: {operations: [query], fields: [viewer, \"repo*\"]}".into(),
            Rule::Mcp => {
                let methods = "methods: [initialize, \"notifications/*\", tools/list, tools/call]";
                let tools = "tools: {search: {}, ask: {}, \"read_*\": {path: \"/data/*\"}}";
                let server = "server: [\"notifications/*\", \"sampling/createMessage\"]";
                return format!(
                    "    - {{host: {host}, mcp: {{{methods}, {tools}, {server}}}}}\n    \
                     - {{host: mcp-quiet.test, mcp: {{{methods}, {tools}}}}}\n"
                );
            }
            Rule::When => format!("{both}, when: 'context.method == \"POST\"'"),
        };
        format!("    - {{host: {host}, {more}}}\n")
    }
}

const PATHS: &str = "[/echo, \"/echo/**\", /ack, /sse, /coded, /large, /trailers, /range, /redirect, /never, /refuse, /ws, \
                     /mcp, /leak, \"/qila.Echo/**\", \"/v1/**\"]";

/// Every name that the server answers to.
pub const NAMES: [&str; 14] = [
    "pass.test",
    "rule.test",
    "key.test",
    "query.test",
    "headers.test",
    "body.test",
    "graphql.test",
    "mcp.test",
    "mcp-quiet.test",
    "when.test",
    "lies.test",
    "other.test",
    "api.openai.com",
    "api.anthropic.com",
];

/// A policy of these rules. `read`: what the clients need of the host.
pub fn policy(rules: &[Rule], read: &[String], node: &str) -> String {
    let mut out = String::from("version: 1\nresources: {wall_time: 10m, output: 1GiB}\n");
    let read: Vec<String> = read.iter().map(|r| format!("\"{r}\"")).collect();
    out.push_str(&format!("filesystem: {{read: [{}]}}\n", read.join(", ")));
    out.push_str("network:\n  loopback: true\n  allow:\n");
    rules.iter().for_each(|r| out.push_str(&r.yaml()));
    if rules.contains(&Rule::Credential) {
        out.push_str("credentials:\n");
        for (name, host, placement, variable) in CREDENTIALS {
            out.push_str(&format!(
                "  {name}: {{source: \"env:{variable}\", placement: {placement}, hosts: [{host}], env: [{variable}]}}\n"
            ));
        }
    }
    out.push_str(&format!(
        "environment: {{set: {{QILA_NODE: \"{node}\", PYTHONDONTWRITEBYTECODE: \"1\"}}}}\n"
    ));
    out
}

/// Credentials: name, host, placement, variable.
pub const CREDENTIALS: [(&str, &str, &str, &str); 4] = [
    ("matrix", "key.test", "bearer", "QILA_MATRIX_KEY"),
    ("liar", "lies.test", "bearer", "QILA_LIAR_KEY"),
    ("openai", "api.openai.com", "bearer", "OPENAI_API_KEY"),
    (
        "anthropic",
        "api.anthropic.com",
        // What its SDK sends nowadays; `tests/agents` has a client with `x-api-key`.
        "bearer",
        "ANTHROPIC_API_KEY",
    ),
];
