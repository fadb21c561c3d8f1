//! A request as HTTP carries it.
use super::{GraphqlError, MAX_BATCH, MAX_DEPTH, MAX_DOCUMENT, Query, Request, operation};
use crate::json::{self, Context, Plain, Walk, object};
use http::Method;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

/// Parameters that a POST may only have in its body.
const OWN: [&str; 10] = [
    "query",
    "operationname",
    "variables",
    "extensions",
    "id",
    "documentid",
    "queryid",
    "doc_id",
    "hash",
    "operation",
];

/// Reads a request: its method, the query string of its target, the media type of its body
/// ([`media_type`](crate::media::media_type)), and the body, of at most `limit` bytes.
pub fn read(
    method: &Method,
    query: Option<&str>,
    media_type: Option<&str>,
    body: &[u8],
    limit: usize,
) -> Result<Request, GraphqlError> {
    if body.len() > limit || query.is_some_and(|query| query.len() > limit) {
        return Err(GraphqlError::Long(limit));
    }
    let query = query.unwrap_or_default();
    if *method == Method::GET {
        return if body.is_empty() {
            get(query)
        } else {
            Err(GraphqlError::Parameter)
        };
    }
    if *method != Method::POST {
        return Err(GraphqlError::Method);
    }
    for (name, _) in pairs(query)? {
        if OWN.contains(&json::folded(&name).as_str()) {
            return Err(GraphqlError::Parameter);
        }
    }
    match media_type {
        Some("application/json") => post(body),
        Some("application/graphql") => {
            let text = std::str::from_utf8(body);
            let text = text.map_err(|_| GraphqlError::Json(json::JsonError::NotUtf8))?;
            single(Parts {
                text: Some(text.into()),
                ..Parts::default()
            })
        }
        _ => Err(GraphqlError::ContentType),
    }
}

/// What a request says, wherever it says it.
#[derive(Default)]
struct Parts<'a> {
    text: Option<Cow<'a, str>>,
    name: Option<Cow<'a, str>>,
    /// Whether it names a stored query.
    stored: bool,
}

impl Parts<'_> {
    fn query(self) -> Result<Query, GraphqlError> {
        match (self.text, self.stored) {
            (Some(text), false) => {
                // An empty name is no name to some, and an error to the others.
                let name = self.name.as_deref().filter(|name| !name.is_empty());
                operation(&text, name).map(Query::Operation)
            }
            (None, true) => Ok(Query::Persisted),
            _ => Err(GraphqlError::Query),
        }
    }
}

fn single(parts: Parts) -> Result<Request, GraphqlError> {
    let queries = vec![parts.query()?];
    Ok(Request {
        batch: false,
        queries,
    })
}

fn get(query: &str) -> Result<Request, GraphqlError> {
    let (mut parts, mut seen) = (Parts::default(), Vec::new());
    for (name, value) in pairs(query)? {
        let known = json::folded(&name);
        if !OWN.contains(&known.as_str()) {
            // Not of GraphQL: a key, a version.
            continue;
        }
        if seen.contains(&known) {
            return Err(GraphqlError::Parameter);
        }
        match name.as_ref() {
            "query" => parts.text = Some(value),
            "operationName" => parts.name = Some(value),
            "variables" => {}
            "extensions" => {
                let context = Context::default();
                let seed = |context| ExtensionsSeed { context };
                parts.stored |= json::read(value.as_bytes(), seed, &context).map_err(GraphqlError::Json)?;
            }
            "id" | "documentId" | "queryId" | "doc_id" => parts.stored = true,
            _ => return Err(GraphqlError::Parameter),
        }
        seen.push(known);
    }
    single(parts)
}

/// A name and its value.
type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// The pairs of a query string, decoded as a form is.
fn pairs(query: &str) -> Result<Vec<Pair<'_>>, GraphqlError> {
    let pair = |pair| {
        let (name, value) = str::split_once(pair, '=').unwrap_or((pair, ""));
        Ok((decode(name)?, decode(value)?))
    };
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts.map(pair).collect()
}

fn decode(text: &str) -> Result<Cow<'_, str>, GraphqlError> {
    if !text.contains(['%', '+']) {
        return Ok(text.into());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = (digit(), digit());
                let value = high
                    .zip(low)
                    .and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
                value.ok_or(GraphqlError::Parameter)?
            }
            byte => byte,
        });
    }
    let text = String::from_utf8(out).map_err(|_| GraphqlError::Json(json::JsonError::NotUtf8))?;
    Ok(text.into())
}

fn post(body: &[u8]) -> Result<Request, GraphqlError> {
    let context = Context::default();
    let why = Cell::new(None);
    let seed = |context| Whole { context, why: &why };
    let read = json::read(body, seed, &context);
    read.map_err(|error| why.get().unwrap_or(GraphqlError::Json(error)))
}

#[derive(Clone, Copy)]
struct Whole<'c> {
    context: &'c Context,
    why: &'c Cell<Option<GraphqlError>>,
}

impl Whole<'_> {
    fn fail<E: Error>(&self, why: GraphqlError) -> E {
        self.why.set(Some(why));
        E::custom("refused")
    }
}

impl<'de> DeserializeSeed<'de> for Whole<'_> {
    type Value = Request;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Request, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Whole<'_> {
    type Value = Request;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a request or a batch")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Request, A::Error> {
        let queries = vec![One(self).visit_map(map)?];
        Ok(Request {
            batch: false,
            queries,
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Request, A::Error> {
        let mut queries = Vec::new();
        while let Some(query) = seq.next_element_seed(One(self))? {
            if queries.len() >= MAX_BATCH {
                return Err(self.fail(GraphqlError::Batch));
            }
            queries.push(query);
        }
        if queries.is_empty() {
            return Err(self.fail(GraphqlError::Batch));
        }
        Ok(Request { batch: true, queries })
    }
}

struct One<'c>(Whole<'c>);

impl<'de> DeserializeSeed<'de> for One<'_> {
    type Value = Query;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Query, D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for One<'_> {
    type Value = Query;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a request")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Query, A::Error> {
        let One(whole) = self;
        let mut parts = Parts::default();
        object(whole.context, &mut map, true, |name, map| {
            if name == "extensions" {
                let context = whole.context;
                parts.stored |= map.next_value_seed(ExtensionsSeed { context })?;
                return Ok(());
            }
            let value = map.next_value_seed(Walk::over(whole.context, MAX_DEPTH))?;
            match (name, value) {
                ("query", Plain::Text(text)) => parts.text = Some(text),
                ("operationName", Plain::Text(text)) => parts.name = Some(text),
                ("query" | "operationName", Plain::Null) => {}
                ("variables", Plain::Object | Plain::Null) => {}
                ("id" | "documentId" | "queryId" | "doc_id", value) => parts.stored |= value != Plain::Null,
                _ => return Err(whole.fail(GraphqlError::Parameter)),
            }
            Ok(())
        })?;
        parts.query().map_err(|why| whole.fail(why))
    }
}

/// The extensions of a request: whether they name a stored query.
struct ExtensionsSeed<'c> {
    context: &'c Context,
}

impl<'de> DeserializeSeed<'de> for ExtensionsSeed<'_> {
    type Value = bool;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<bool, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ExtensionsSeed<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let mut stored = false;
        object(self.context, &mut map, true, |name, map| {
            let value = map.next_value_seed(Walk::over(self.context, MAX_DEPTH))?;
            stored |= json::folded(name) == "persistedquery" && value != Plain::Null;
            Ok(())
        })?;
        Ok(stored)
    }
}

/// Any bytes are a request or an error, in each of the ways.
pub(super) fn fuzz(data: &[u8]) {
    let json = Some("application/json");
    let read = |query, kind, body| read(&Method::POST, query, kind, body, 1 << 17);
    if let Ok(request) = read(None, json, data) {
        assert!((1..=MAX_BATCH).contains(&request.queries.len()));
        let plain: Result<serde_json::Value, _> = serde_json::from_slice(data);
        let plain = plain.unwrap_or_default();
        let list = match &plain {
            serde_json::Value::Array(list) => list.as_slice(),
            one => std::slice::from_ref(one),
        };
        assert_eq!(list.len(), request.queries.len());
        for (query, plain) in request.queries.iter().zip(list) {
            let text = plain.get("query").and_then(|text| text.as_str());
            let name = plain.get("operationName").and_then(|name| name.as_str());
            let name = name.filter(|name| !name.is_empty());
            match (query, text) {
                (Query::Operation(found), Some(text)) => {
                    assert_eq!(operation(text, name).as_ref(), Ok(found))
                }
                (query, text) => assert!(*query == Query::Persisted && text.is_none()),
            }
        }
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let direct = operation(text, None);
    if data.len() <= MAX_DOCUMENT.min(1 << 14) {
        let form: String = data.iter().map(|byte| format!("%{byte:02x}")).collect();
        let asked = super::read(
            &Method::GET,
            Some(&format!("a=b&query={form}")),
            None,
            b"",
            1 << 17,
        );
        let asked = asked.map(|mut request| request.queries.pop());
        assert_eq!(asked, direct.clone().map(|found| Some(Query::Operation(found))));
        let _ = super::read(&Method::GET, Some(text), None, b"", 1 << 17);
    }
    let posted = read(None, Some("application/graphql"), data);
    let posted = posted.map(|mut request| request.queries.pop());
    assert!(data.len() > MAX_DOCUMENT || posted == direct.map(|found| Some(Query::Operation(found))));
}
