//! Whether a request may: by its head, and where a rule asks what its body says, by that too.
use super::exchange::Exchange;
use super::refusal::Refusal;
use super::whole;
use crate::gate::{Gate, Rules};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method};
use hyper::body::{Body, Incoming};
use qila_authorizer::{
    Access as Ask, BodyFacts, BodyNeed, GraphQlFacts, HttpFacts, McpFacts, McpKind, Verdict,
};
use qila_inspect::jsonrpc::{Kind as RpcKind, Subject};
use qila_inspect::{content_coding, graphql, jsonrpc, media};
use qila_policy::model::GraphQlKind;

/// What a request was judged by: to judge it again when the rules have changed.
pub(super) struct Known {
    method: Method,
    path: String,
    query: Option<String>,
    headers: HeaderMap,
    size: Option<u64>,
    body: Option<BodyFacts>,
    /// Whether it becomes a WebSocket.
    socket: bool,
}

impl Known {
    /// Asks the rules.
    pub(super) fn ask(&self, rules: &Rules, exchange: &Exchange) -> Verdict {
        rules.authorizer.decide(&Ask::Http {
            host: exchange.to.as_host(),
            port: exchange.port,
            method: self.method.as_str(),
            path: &self.path,
            facts: &HttpFacts {
                query: self.query.as_deref(),
                headers: Some(&self.headers),
                body_size: self.size,
                body: self.body.as_ref(),
                upgrade: self.socket,
            },
        })
    }

    /// The method, as sent.
    pub(super) fn method(&self) -> &str {
        self.method.as_str()
    }

    /// The path, as sent.
    pub(super) fn path(&self) -> &str {
        &self.path
    }
}

/// A verdict, what it was reached by, and the body if it had to be read.
pub(super) struct Judged {
    pub verdict: Verdict,
    pub known: Known,
    pub body: Option<Bytes>,
}

/// Judges a request. Its body is taken only if a rule asks what it says.
pub(super) async fn judge(
    gate: &Gate,
    rules: &Rules,
    exchange: &Exchange,
    parts: &Parts,
    body: &mut Option<Incoming>,
    socket: bool,
) -> Result<Judged, Refusal> {
    let none = socket || body.as_ref().is_none_or(Body::is_end_stream);
    let mut known = Known {
        method: parts.method.clone(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().map(str::to_owned),
        headers: parts.headers.clone(),
        size: match none {
            true => Some(0),
            false => body.as_ref().and_then(|b| b.size_hint().exact()),
        },
        // Of an empty body the size says all, except where GraphQL may stand in the query instead.
        body: None,
        socket,
    };
    let verdict = known.ask(rules, exchange);
    let Some(need) = verdict.needs_body else {
        let mut read = None;
        // A body whose length nobody said is counted before anything of it leaves, not cut off on its way.
        if let (true, Some(limit), None) = (verdict.allowed, verdict.body_limit, known.size)
            && limit <= whole::MAX
            && let Some(body) = body.take()
        {
            let bytes = whole::read(gate, rules, body, limit).await?;
            known.size = Some(bytes.len() as u64);
            read = Some(bytes);
        }
        return Ok(Judged {
            verdict,
            known,
            body: read,
        });
    };
    let most = need.limit.min(whole::MAX);
    let bytes = match body.take() {
        None => Bytes::new(),
        Some(body) => whole::read(gate, rules, body, most).await?,
    };
    known.size = Some(bytes.len() as u64);
    known.body = Some(read(parts, &bytes, &need));
    Ok(Judged {
        verdict: known.ask(rules, exchange),
        known,
        body: Some(bytes),
    })
}

/// What a body says. What is not understood is something else, which meets no rule that asks.
fn read(parts: &Parts, bytes: &[u8], need: &BodyNeed) -> BodyFacts {
    let Ok(packed) = content_coding::codings(&parts.headers) else {
        return BodyFacts::Other;
    };
    let plain = match packed.is_empty() {
        true => Ok(bytes.to_vec()),
        false => content_coding::decode(&packed, bytes, need.limit),
    };
    let Ok(plain) = plain else { return BodyFacts::Other };
    let limit = usize::try_from(need.limit).unwrap_or(usize::MAX);
    if need.graphql {
        let kind = media::media_type(&parts.headers);
        let read = graphql::read(&parts.method, parts.uri.query(), kind.as_deref(), &plain, limit);
        if let Some(facts) = read.ok().and_then(|r| r.queries.into_iter().map(query).collect()) {
            return BodyFacts::GraphQl(facts);
        }
    }
    if plain.is_empty() {
        return BodyFacts::None;
    }
    if need.mcp
        && let Ok(body) = jsonrpc::read(&plain, limit)
    {
        return BodyFacts::Mcp(body.messages.into_iter().map(message).collect());
    }
    BodyFacts::Other
}

/// None: the server would look the text up.
fn query(query: graphql::Query) -> Option<GraphQlFacts> {
    let graphql::Query::Operation(operation) = query else {
        return None;
    };
    Some(GraphQlFacts {
        kind: match operation.kind {
            graphql::Kind::Query => GraphQlKind::Query,
            graphql::Kind::Mutation => GraphQlKind::Mutation,
            graphql::Kind::Subscription => GraphQlKind::Subscription,
        },
        operation: operation.name,
        fields: operation.fields,
    })
}

fn message(message: jsonrpc::Message) -> McpFacts {
    let (tool, arguments) = match message.subject {
        Subject::Tool { name, arguments } => (Some(name), arguments),
        Subject::Prompt { arguments, .. } => (None, arguments),
        Subject::Resource { uri } => (None, vec![("uri".to_owned(), uri)]),
        Subject::Other => (None, Vec::new()),
    };
    McpFacts {
        kind: match message.kind {
            RpcKind::Request => McpKind::Request,
            RpcKind::Notification => McpKind::Notification,
            RpcKind::Response | RpcKind::Error => McpKind::Response,
        },
        method: message.method.unwrap_or_default(),
        tool,
        arguments,
    }
}
