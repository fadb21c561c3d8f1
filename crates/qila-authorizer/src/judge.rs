//! Whether a rule can match a request, as far as can be said without Cedar.
use crate::facts::{BodyFacts, BodyNeed, HttpFacts};
use crate::glob::PathText;
use crate::value::{Found, Query, header};
use crate::{Access, body};
use qila_policy::model::{Condition, NetRule, READ_BOUND, TextGlob};

/// What is judged: one access, its path and query taken apart once.
pub(crate) enum Asked<'a> {
    /// A request.
    Request(Request<'a>),
    /// Anything else, of which a rule asks for nothing but host and port.
    Other,
}

/// A request.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: PathText<'a>,
    pub(crate) query: Query<'a>,
    pub(crate) facts: &'a HttpFacts<'a>,
}

/// What a rule says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It does not match.
    No,
    /// It matches, unless its expert condition says otherwise.
    Yes,
    /// It matches as far as is known, and must know the body.
    Body(BodyNeed),
}

impl<'a> Asked<'a> {
    pub(crate) fn of(access: &Access<'a>) -> Asked<'a> {
        match *access {
            Access::Http {
                method, path, facts, ..
            } => Asked::Request(Request {
                method,
                path: PathText::of(path),
                query: Query::of(facts.query),
                facts,
            }),
            _ => Asked::Other,
        }
    }
}

/// What a rule, whose host and port match already, says.
pub(crate) fn rule(rule: &NetRule, asked: &Asked<'_>) -> Answer {
    let Asked::Request(request) = asked else {
        return Answer::Yes;
    };
    if head(rule, request) {
        said(rule, request)
    } else {
        Answer::No
    }
}

fn head(rule: &NetRule, request: &Request<'_>) -> bool {
    let method = |all: &Vec<String>| all.iter().any(|m| m == request.method);
    if !rule.methods.as_ref().is_none_or(method) {
        return false;
    }
    let path = |globs: &Vec<_>| globs.iter().any(|g| request.path.matches(g));
    if !rule.paths.as_ref().is_none_or(path) {
        return false;
    }
    let in_query = |(name, glob): (&String, &TextGlob)| match request.query.get(name) {
        Found::One(text) => glob.matches_value(&text),
        _ => false,
    };
    let in_headers = |(name, glob): (&String, &TextGlob)| match header(request.facts.headers, name) {
        Found::One(text) => glob.matches(&text),
        _ => false,
    };
    rule.query.iter().all(in_query) && rule.headers.iter().all(in_headers) && clear(rule, request)
}

/// Whether the condition can say what it looks at: what is unclear must not look as if it were not there.
fn clear(rule: &NetRule, request: &Request<'_>) -> bool {
    let Some(reads) = rule.when.as_ref().map(Condition::reads) else {
        return true;
    };
    let query = |name: &String| request.query.get(name) != Found::Unclear;
    let headers = |name: &String| header(request.facts.headers, name) != Found::Unclear;
    reads.query.iter().all(query) && reads.headers.iter().all(headers)
}

fn said(rule: &NetRule, request: &Request<'_>) -> Answer {
    let facts = request.facts;
    let bound = rule.body_bound().map(|b| b.0);
    if facts
        .body_size
        .zip(bound)
        .is_some_and(|(size, bound)| size > bound)
    {
        return Answer::No;
    }
    let reads = rule.when.as_ref().map(Condition::reads);
    let sized = reads.is_some_and(|r| r.body_size) && facts.body_size.is_none();
    let graphql = rule.graphql.is_some() || reads.is_some_and(|r| r.graphql || r.body);
    let need = Answer::Body(BodyNeed {
        limit: bound.unwrap_or(READ_BOUND.0),
        graphql,
        mcp: rule.mcp.is_some() || reads.is_some_and(|r| r.mcp || r.body),
    });
    // GraphQL may stand in the query of a request without a body; nothing else does.
    let body = match facts.body_size {
        Some(0) if !graphql => facts.body.or(Some(&BodyFacts::None)),
        _ => facts.body,
    };
    match body {
        None if sized || rule.reads_body() => need,
        None => Answer::Yes,
        // It was read, and nobody knows how large it is: then it is larger than what is read.
        Some(_) if sized => Answer::No,
        Some(said) => {
            let names = reads.iter().flat_map(|r| &r.arguments);
            let met = body::meets(rule, request.method, said) && !body::unclear(said, names);
            if met { Answer::Yes } else { Answer::No }
        }
    }
}
