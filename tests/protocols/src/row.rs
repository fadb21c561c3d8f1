//! The matrix as data.
use crate::rule::Rule;
use serde_json::{Value, json};

/// A client, in one protocol that it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// Its name.
    pub name: &'static str,
    /// What is spoken.
    pub protocol: &'static str,
    /// The script that drives it.
    pub script: &'static str,
    /// The version that it is told to speak.
    pub version: &'static str,
    /// Whether there is TLS.
    pub tls: bool,
}

const fn client(
    name: &'static str,
    protocol: &'static str,
    script: &'static str,
    version: &'static str,
    tls: bool,
) -> Client {
    Client {
        name,
        protocol,
        script,
        version,
        tls,
    }
}

/// Those that speak plain HTTP, with the features beyond the common ones that they have.
const HTTP: [(Client, &str); 10] = [
    (
        client("curl", "HTTP/1.1", "curl_client.py", "1.1", true),
        "expect refuse br zstd redirect never trailers lies",
    ),
    (
        client("curl", "HTTP/2", "curl_client.py", "2", true),
        "br zstd redirect never trailers",
    ),
    (
        client("curl", "clear HTTP/1.1", "curl_client.py", "1.1", false),
        "expect trailers never",
    ),
    (
        client("curl", "clear HTTP/2", "curl_client.py", "h2c", false),
        "trailers never",
    ),
    (
        client("httpx", "HTTP/1.1", "httpx_client.py", "1.1", true),
        "br zstd redirect lies",
    ),
    (
        client("httpx", "HTTP/2", "httpx_client.py", "2", true),
        "br zstd redirect",
    ),
    (
        client("requests", "HTTP/1.1", "requests_client.py", "1.1", true),
        "br redirect lies",
    ),
    (
        client("aiohttp", "HTTP/1.1", "aiohttp_client.py", "1.1", true),
        "expect br redirect lies",
    ),
    (
        client("fetch", "HTTP/1.1", "fetch_client.mjs", "1.1", true),
        "br redirect trailers lies",
    ),
    (
        client("undici", "HTTP/2", "fetch_client.mjs", "2", true),
        "br redirect",
    ),
];

/// One line of the matrix; two cases, or one where nothing is to be denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Who asks, and how.
    pub client: Client,
    /// What is asked.
    pub feature: &'static str,
    /// Under which kind of rule.
    pub rule: Rule,
}

impl Row {
    /// `client/protocol/feature/rule`.
    pub fn id(&self) -> String {
        let Client { name, protocol, .. } = self.client;
        format!(
            "{name}/{}/{}/{}",
            protocol.replace(' ', "-").replace("HTTP/", "h"),
            self.feature,
            self.rule.name()
        )
    }

    /// Whether there is something to be denied.
    pub fn has_deny(&self) -> bool {
        !(self.feature == "never" || self.feature.starts_with("lie-"))
    }
}

/// Ways in which a server lies.
pub const LIES: [&str; 5] = ["lie-short", "lie-long", "lie-twice", "lie-both", "lie-endless"];

/// All rows.
pub fn all() -> Vec<Row> {
    let mut rows = Vec::new();
    let mut add = |client: Client, feature: &'static str, rule: Rule| {
        rows.push(Row {
            client,
            feature,
            rule,
        });
    };
    for (client, more) in HTTP {
        for rule in [
            Rule::Host,
            Rule::Paths,
            Rule::Credential,
            Rule::Query,
            Rule::Headers,
            Rule::When,
        ] {
            if client.tls || rule != Rule::Credential {
                add(client, "echo", rule);
            }
        }
        for feature in ["upload", "range", "gzip", "sse", "large"] {
            add(client, feature, Rule::Paths);
        }
        if client.tls {
            add(client, "sse", Rule::Credential);
            add(client, "gzip", Rule::Credential);
        }
        add(client, "body", Rule::Body);
        add(client, "upload", Rule::Body);
        if client.tls {
            add(client, "graphql", Rule::Graphql);
        }
        for feature in more.split(' ') {
            match feature {
                "lies" => LIES.iter().for_each(|lie| add(client, lie, Rule::Credential)),
                _ => add(client, feature, Rule::Paths),
            }
        }
    }
    let sockets = [
        client("websockets", "WebSocket", "websockets_client.py", "1.1", true),
        client("aiohttp", "WebSocket", "aiohttp_client.py", "1.1", true),
        client("ws", "WebSocket", "ws_client.mjs", "1.1", true),
        client(
            "websockets",
            "clear WebSocket",
            "websockets_client.py",
            "1.1",
            false,
        ),
    ];
    for client in sockets {
        add(client, "websocket", Rule::Host);
        add(client, "websocket", Rule::Paths);
        if client.tls {
            add(client, "websocket", Rule::Credential);
        }
    }
    let calls = [
        client("grpcio", "gRPC", "grpc_client.py", "2", true),
        client("grpc-js", "gRPC", "grpc_client.mjs", "2", true),
        client("grpcio", "clear gRPC", "grpc_client.py", "2", false),
    ];
    for client in calls {
        for feature in ["unary", "server-stream", "client-stream", "bidi"] {
            add(client, feature, Rule::Paths);
        }
        add(client, "unary", Rule::Host);
        if client.tls {
            add(client, "bidi", Rule::Credential);
        }
    }
    let openai = client("openai", "model API", "openai_client.py", "1.1", true);
    for feature in [
        "chat",
        "chat-stream",
        "chat-tools",
        "chat-stream-tools",
        "responses",
        "responses-stream",
        "responses-stream-tools",
    ] {
        add(openai, feature, Rule::Credential);
    }
    let anthropic = client("anthropic", "model API", "anthropic_client.py", "1.1", true);
    for feature in [
        "messages",
        "messages-stream",
        "messages-tools",
        "messages-stream-tools",
    ] {
        add(anthropic, feature, Rule::Credential);
    }
    let mcp = client("mcp", "MCP", "mcp_client.py", "1.1", true);
    add(mcp, "tools", Rule::Paths);
    for feature in ["tools", "arguments", "server-request"] {
        add(mcp, feature, Rule::Mcp);
    }
    rows
}

/// The case for the client: what to ask, by which name, with what. `authority`: for connections that pass through.
pub fn case(row: &Row, deny: bool, authority: &str) -> Value {
    let id = format!("{}/{}", row.id(), if deny { "deny" } else { "allow" });
    let scheme = if row.client.tls { "https" } else { "http" };
    let (client, feature, rule) = (row.client, row.feature, row.rule);
    let mut host = rule.host();
    let mut op = json!({
        "case": id, "feature": feature, "version": client.version, "method": "GET", "prefix": "", "path": "/echo",
        "id": id.replace('/', "-").replace('.', "_"), "timeout": 8,
    });
    match feature {
        "upload" | "body" | "expect" | "refuse" => {
            op["method"] = "POST".into();
            op["size"] = if feature == "upload" { 2_000_000 } else { 300_000 }.into();
            op["path"] = if feature == "refuse" { "/refuse" } else { "/echo" }.into();
        }
        "range" | "large" | "trailers" | "never" => op["path"] = format!("/{feature}").into(),
        "gzip" | "br" | "zstd" => op["path"] = format!("/coded?as={feature}").into(),
        "sse" => op["path"] = format!("/sse?id={}", op["id"].as_str().unwrap_or_default()).into(),
        "redirect" => {
            let to = if deny { "other.test" } else { host };
            op["path"] = format!("/redirect?to={to}").into();
        }
        "websocket" => {
            op["path"] = "/ws".into();
            op["messages"] = json!(["hello", "x".repeat(40_000), "snowman \u{2603}"]);
        }
        "graphql" => {
            op["method"] = "POST".into();
            op["path"] = "/graphql".into();
            let text = if deny {
                "mutation { deleteRepository(id: 1) { id } }"
            } else {
                "query { viewer { login } }"
            };
            op["send"] = json!({"query": text}).to_string().into();
        }
        lie if lie.starts_with("lie-") => {
            host = "lies.test";
            op["path"] = format!("/{}", &lie[4..]).into();
        }
        _ => {}
    }
    if feature == "never" {
        op["timeout"] = 2.into();
    }
    match client.script {
        "openai_client.py" => model(&mut op, &mut host, "api.openai.com", "OPENAI_API_KEY", "gpt-4o"),
        "anthropic_client.py" => {
            model(
                &mut op,
                &mut host,
                "api.anthropic.com",
                "ANTHROPIC_API_KEY",
                "claude-sonnet-4-5",
            );
        }
        "mcp_client.py" => {
            op["path"] = "/mcp".into();
            let (good, bad) = match feature {
                "arguments" => ("read_file", "read_file"),
                "server-request" => ("ask", "ask"),
                _ => ("search", "drop_all"),
            };
            op["tool"] = if deny { bad } else { good }.into();
            op["arguments"] = json!({"path": if deny { "/etc/passwd" } else { "/data/notes" }});
            if deny && feature == "server-request" {
                host = "mcp-quiet.test";
            }
        }
        _ => {}
    }
    match rule {
        Rule::Host => {
            if client.tls {
                op["ca"] = authority.into();
            }
            if deny {
                host = "other.test";
            }
        }
        Rule::Paths if deny && feature != "redirect" => op["prefix"] = "/denied".into(),
        Rule::Credential => {
            if !client.script.starts_with("openai")
                && !client.script.starts_with("anthropic")
                && host != "lies.test"
            {
                op["key"] = "QILA_MATRIX_KEY".into();
            }
            if deny {
                host = "rule.test";
            }
        }
        Rule::Query => op["query"] = if deny { "page=x" } else { "page=12" }.into(),
        Rule::Headers => op["headers"] = json!({"x-kind": if deny { "bad" } else { "good1" }}),
        Rule::Body => op["size"] = if deny { 50_000 } else { 1000 }.into(),
        Rule::When => op["method"] = if deny { "PUT" } else { "POST" }.into(),
        _ => {}
    }
    op["base"] = format!("{scheme}://{host}").into();
    op
}

fn model(op: &mut Value, host: &mut &'static str, name: &'static str, secret: &str, model: &str) {
    *host = name;
    op["secret"] = secret.into();
    op["model"] = model.into();
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_row_has_a_name_of_its_own() {
        let mut names: Vec<String> = super::all().iter().map(super::Row::id).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
