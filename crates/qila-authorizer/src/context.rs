//! What Cedar is told of an access: no more than the rule looks at.
use crate::facts::{BodyFacts, GraphQlFacts, McpFacts};
use crate::judge::{Asked, Request};
use crate::value::{Found, header};
use crate::{Access, CompileError, Host, body};
use cedar_policy::{Context, RestrictedExpression as Value};
use qila_policy::cedar::{Names, matched};
use qila_policy::model::{NetRule, TextGlob};

type Pairs = Vec<(String, Value)>;

fn text(text: &str) -> Value {
    Value::new_string(text.into())
}

fn record(pairs: Pairs) -> Result<Value, CompileError> {
    Value::new_record(pairs).map_err(|e| CompileError(e.to_string()))
}

fn whole(pairs: Pairs) -> Result<Context, CompileError> {
    Context::from_pairs(pairs).map_err(|e| CompileError(e.to_string()))
}

/// Where an access goes.
fn place(access: &Access<'_>) -> Pairs {
    let (host, port) = access.target();
    let mut pairs = Vec::with_capacity(16);
    pairs.push(match host {
        Host::Name(name) => ("host".into(), text(name.as_str())),
        Host::Address(ip) => ("address".into(), Value::new_ip(ip.to_string())),
    });
    pairs.extend(port.map(|p| ("port".into(), Value::new_long(p.into()))));
    pairs
}

/// The context in which a credential is used, a name looked up or a connection made.
pub(crate) fn target(access: &Access<'_>) -> Result<Context, CompileError> {
    whole(place(access))
}

/// Every context in which a rule must hold: one, or one for each message of a batch.
pub(crate) fn all(
    rule: &NetRule,
    names: &Names,
    access: &Access<'_>,
    asked: &Asked<'_>,
) -> Result<Vec<Context>, CompileError> {
    match (access, asked) {
        (Access::McpServer { method, .. }, _) => {
            let mut pairs = place(access);
            pairs.push(("method".into(), text(method)));
            let server = rule.mcp.iter().flat_map(|m| &m.server);
            let held = server.filter(|g| !matched::is_plain_like(g) && g.matches(method));
            let held = held.map(|g| text(&matched::method(g)));
            pairs.push(("matched".into(), Value::new_set(held)));
            Ok(vec![whole(pairs)?])
        }
        (_, Asked::Request(request)) => match request.facts.body {
            Some(BodyFacts::GraphQl(many)) if !many.is_empty() => many
                .iter()
                .map(|one| whole(of_request(rule, names, access, request, Some(one), None)?))
                .collect(),
            Some(BodyFacts::Mcp(many)) if !many.is_empty() => many
                .iter()
                .map(|one| whole(of_request(rule, names, access, request, None, Some(one))?))
                .collect(),
            _ => Ok(vec![whole(of_request(
                rule, names, access, request, None, None,
            )?)?]),
        },
        _ => Ok(vec![target(access)?]),
    }
}

fn of_request(
    rule: &NetRule,
    names: &Names,
    access: &Access<'_>,
    request: &Request<'_>,
    graphql: Option<&GraphQlFacts>,
    mcp: Option<&McpFacts>,
) -> Result<Pairs, CompileError> {
    let facts = request.facts;
    let mut held: Vec<String> = Vec::new();
    let mut pairs = place(access);
    // An expert condition may look at anything; of other rules it is known what they look at, and making it costs.
    let expert = rule.when.is_some();
    pairs.push(("method".into(), text(request.method)));
    if expert {
        pairs.push(("path".into(), text(request.path.as_str())));
    }
    if expert || rule.paths.is_some() {
        let globs = rule.paths.iter().flatten().filter(|g| request.path.matches(g));
        pairs.push(("globs".into(), Value::new_set(globs.map(|g| text(&g.0)))));
    }

    let mut query = Vec::new();
    for name in &names.query {
        if let Found::One(value) = request.query.get(name) {
            let glob = rule.query.get(name).filter(|g| !matched::is_like(g));
            held.extend(
                glob.filter(|g| g.matches_value(&value))
                    .map(|g| matched::query(name, g)),
            );
            query.push((name.clone(), text(&value)));
        }
    }
    if expert || !names.query.is_empty() {
        pairs.push(("query".into(), record(query)?));
    }

    let mut headers = Vec::new();
    for name in &names.headers {
        if let Found::One(value) = header(facts.headers, name) {
            let glob = rule.headers.get(name).filter(|g| !matched::is_plain_like(g));
            held.extend(
                glob.filter(|g| g.matches(&value))
                    .map(|g| matched::header(name, g)),
            );
            headers.push((name.clone(), text(&value)));
        }
    }
    if expert || !names.headers.is_empty() {
        pairs.push(("headers".into(), record(headers)?));
    }

    let word = match (facts.body, facts.body_size) {
        (Some(said), _) => said.word(),
        (None, Some(0)) => "none",
        (None, _) => "unread",
    };
    pairs.push(("body".into(), text(word)));
    let size = facts.body_size.map(|n| i64::try_from(n).unwrap_or(i64::MAX));
    pairs.extend(size.map(|n| ("body_size".into(), Value::new_long(n))));
    if let Some(one) = graphql {
        let globs = rule.graphql.iter().flat_map(|g| &g.fields);
        let globs = globs.filter(|g| !g.iter().all(TextGlob::is_literal) && body::fields(g, one));
        held.extend(globs.map(|g| matched::fields(g)));
        pairs.push(("graphql".into(), operation(one)?));
    }
    if let Some(one) = mcp {
        held.extend(of_message(rule, one));
        pairs.push(("mcp".into(), message(one, names)?));
    }
    let conditions = !names.query.is_empty() || !names.headers.is_empty();
    if expert || conditions || rule.graphql.is_some() || rule.mcp.is_some() {
        pairs.push(("matched".into(), Value::new_set(held.iter().map(|k| text(k)))));
    }
    Ok(pairs)
}

fn operation(one: &GraphQlFacts) -> Result<Value, CompileError> {
    let fields = Value::new_set(one.fields.iter().map(|f| text(f)));
    let mut pairs = vec![
        ("kind".into(), text(one.kind.as_str())),
        ("fields".into(), fields),
    ];
    pairs.extend(
        one.operation
            .as_ref()
            .map(|name| ("operation".into(), text(name))),
    );
    record(pairs)
}

fn message(one: &McpFacts, names: &Names) -> Result<Value, CompileError> {
    let arguments = names
        .arguments
        .iter()
        .filter_map(|name| Some((name.clone(), text(body::argument(one, name)?))));
    let mut pairs = vec![
        ("kind".into(), text(one.kind.word())),
        ("method".into(), text(&one.method)),
        ("arguments".into(), record(arguments.collect())?),
    ];
    pairs.extend(one.tool.as_ref().map(|tool| ("tool".into(), text(tool))));
    record(pairs)
}

/// Patterns of a rule that Cedar cannot try, and that a message matches.
fn of_message(rule: &NetRule, one: &McpFacts) -> Vec<String> {
    let Some(mcp) = &rule.mcp else { return Vec::new() };
    let methods = mcp.methods.iter().flatten();
    let methods = methods.filter(|g| !matched::is_plain_like(g) && g.matches(&one.method));
    let mut held: Vec<String> = methods.map(matched::method).collect();
    for (glob, arguments) in mcp.tools.iter().flatten() {
        let named = one.tool.as_ref().is_some_and(|tool| glob.matches(tool));
        held.extend((named && !matched::is_plain_like(glob)).then(|| matched::tool(glob)));
        for (name, glob) in arguments.iter().filter(|(_, g)| !matched::is_like(g)) {
            let matches = body::argument(one, name).is_some_and(|t| glob.matches_value(t));
            held.extend(matches.then(|| matched::argument(name, glob)));
        }
    }
    held
}
