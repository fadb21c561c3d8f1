//! A body, message by message.
use super::{
    Body, Id, JsonError, JsonRpcError, Kind, MAX_ARGUMENTS, MAX_BATCH, MAX_DEPTH, MAX_NAME, Message, Subject,
};
use crate::json::{self, Context, Plain, Walk, is_disguised, object};
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use std::cell::Cell;
use std::fmt;

/// Reads a body of at most `limit` bytes.
pub fn read(body: &[u8], limit: usize) -> Result<Body, JsonRpcError> {
    if body.len() > limit {
        return Err(JsonRpcError::Long(limit));
    }
    let context = Context::default();
    let why = Cell::new(None);
    let whole = |json| Whole { json, why: &why };
    let read = json::read(body, whole, &context);
    read.map_err(|error| why.get().unwrap_or(JsonRpcError::Json(error)))
}

/// Members of a message.
const ENVELOPE: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];

/// Members of parameters that are looked at.
const PARAMS: [&str; 3] = ["name", "uri", "arguments"];

#[derive(Clone, Copy)]
struct Whole<'c> {
    json: &'c Context,
    why: &'c Cell<Option<JsonRpcError>>,
}

impl Whole<'_> {
    fn fail<E: Error>(&self, why: JsonRpcError) -> E {
        self.why.set(Some(why));
        E::custom("refused")
    }
}

impl<'de> DeserializeSeed<'de> for Whole<'_> {
    type Value = Body;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Body, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Whole<'_> {
    type Value = Body;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message or a batch")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Body, A::Error> {
        Ok(Body {
            batch: false,
            messages: vec![One(self).visit_map(map)?],
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Body, A::Error> {
        let mut messages = Vec::new();
        while let Some(message) = seq.next_element_seed(One(self))? {
            if messages.len() >= MAX_BATCH {
                return Err(self.fail(JsonRpcError::Batch));
            }
            messages.push(message);
        }
        if messages.is_empty() {
            return Err(self.fail(JsonRpcError::Batch));
        }
        Ok(Body {
            batch: true,
            messages,
        })
    }
}

/// One message.
struct One<'c>(Whole<'c>);

/// What was found in it.
#[derive(Default)]
struct Found<'de> {
    version: bool,
    id: Option<Plain<'de>>,
    method: Option<Plain<'de>>,
    params: Option<Params>,
    result: bool,
    error: Option<bool>,
}

impl<'de> DeserializeSeed<'de> for One<'_> {
    type Value = Message;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Message, D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for One<'_> {
    type Value = Message;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Message, A::Error> {
        let One(whole) = self;
        let mut found = Found::default();
        let walk = || Walk::over(whole.json, MAX_DEPTH);
        object(whole.json, &mut map, true, |name, map| {
            match name {
                "jsonrpc" => found.version = map.next_value_seed(walk())? == Plain::Text("2.0".into()),
                "id" => found.id = Some(map.next_value_seed(walk())?),
                "method" => found.method = Some(map.next_value_seed(walk())?),
                "params" => found.params = Some(map.next_value_seed(ParamsSeed(whole))?),
                "result" => {
                    map.next_value_seed(walk())?;
                    found.result = true;
                }
                "error" => found.error = Some(map.next_value_seed(ErrorSeed(whole))?),
                _ => return Err(whole.fail(JsonRpcError::Member)),
            }
            Ok(())
        })?;
        found.message().map_err(|why| whole.fail(why))
    }
}

impl Found<'_> {
    fn message(self) -> Result<Message, JsonRpcError> {
        if !self.version {
            return Err(JsonRpcError::Version);
        }
        let id = match self.id {
            None => None,
            Some(Plain::Integer(number)) => Some(Some(Id::Number(number))),
            Some(Plain::Text(text)) if is_word(&text, MAX_NAME) => Some(Some(Id::Text(text.into_owned()))),
            Some(Plain::Null) => Some(None),
            Some(_) => return Err(JsonRpcError::Id),
        };
        let (kind, id) = match (&self.method, id, self.result, self.error) {
            (Some(_), None, false, None) => (Kind::Notification, None),
            (Some(_), Some(Some(id)), false, None) => (Kind::Request, Some(id)),
            // A request with `null` for an id is taken for a notification by some.
            (Some(_), Some(None), false, None) => return Err(JsonRpcError::Id),
            (None, Some(Some(id)), true, None) => (Kind::Response, Some(id)),
            (None, Some(None), true, None) => return Err(JsonRpcError::Id),
            (None, Some(id), false, Some(true)) => (Kind::Error, id),
            _ => return Err(JsonRpcError::Kind),
        };
        let method = match self.method {
            None if self.params.is_some() => return Err(JsonRpcError::Kind),
            None => None,
            Some(Plain::Text(text)) if !text.is_empty() && is_word(&text, MAX_NAME) => {
                Some(text.into_owned())
            }
            Some(_) => return Err(JsonRpcError::Method),
        };
        let subject = match &method {
            Some(method) => subject(method, self.params)?,
            None => Subject::Other,
        };
        Ok(Message {
            kind,
            id,
            method,
            subject,
        })
    }
}

/// Whether a text may be a name: short, and no control characters.
fn is_word(text: &str, longest: usize) -> bool {
    text.len() <= longest && !text.chars().any(char::is_control)
}

fn subject(method: &str, params: Option<Params>) -> Result<Subject, JsonRpcError> {
    let params = params.unwrap_or_default();
    let name = params.name.filter(|name| is_word(name, MAX_NAME));
    let uri = params.uri.filter(|uri| is_word(uri, MAX_NAME * 16));
    let arguments = params.arguments;
    let known = match method {
        "tools/call" => name
            .zip(arguments)
            .map(|(name, arguments)| Subject::Tool { name, arguments }),
        "prompts/get" => name
            .zip(arguments)
            .map(|(name, arguments)| Subject::Prompt { name, arguments }),
        "resources/read" | "resources/subscribe" | "resources/unsubscribe" => {
            uri.map(|uri| Subject::Resource { uri })
        }
        _ => Some(Subject::Other),
    };
    known.ok_or(JsonRpcError::Params)
}

/// Of the parameters what a subject needs.
struct Params {
    name: Option<String>,
    uri: Option<String>,
    /// None: they are no object.
    arguments: Option<Vec<(String, String)>>,
}

impl Default for Params {
    fn default() -> Params {
        Params {
            name: None,
            uri: None,
            arguments: Some(Vec::new()),
        }
    }
}

struct ParamsSeed<'c>(Whole<'c>);

impl<'de> DeserializeSeed<'de> for ParamsSeed<'_> {
    type Value = Params;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Params, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ParamsSeed<'_> {
    type Value = Params;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Params, A::Error> {
        Walk::over(self.0.json, MAX_DEPTH).visit_seq(seq)?;
        Ok(Params::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Params, A::Error> {
        let ParamsSeed(whole) = self;
        let mut params = Params::default();
        let text = |value: Plain| match value {
            Plain::Text(text) => Some(text.into_owned()),
            _ => None,
        };
        object(whole.json, &mut map, true, |name, map| {
            let walk = Walk::over(whole.json, MAX_DEPTH - 1);
            match name {
                "name" => params.name = text(map.next_value_seed(walk)?),
                "uri" => params.uri = text(map.next_value_seed(walk)?),
                "arguments" => params.arguments = map.next_value_seed(ArgumentsSeed(whole))?,
                _ if is_disguised(name, &PARAMS) => return Err(whole.fail(JsonRpcError::Params)),
                _ => drop(map.next_value_seed(walk)?),
            }
            Ok(())
        })?;
        Ok(params)
    }
}

struct ArgumentsSeed<'c>(Whole<'c>);

impl<'de> DeserializeSeed<'de> for ArgumentsSeed<'_> {
    type Value = Option<Vec<(String, String)>>;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ArgumentsSeed<'_> {
    type Value = Option<Vec<(String, String)>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Some(Vec::new()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        Walk::over(self.0.json, MAX_DEPTH - 1).visit_seq(seq)?;
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let ArgumentsSeed(whole) = self;
        let mut arguments = Vec::new();
        object(whole.json, &mut map, true, |name, map| {
            if arguments.len() >= MAX_ARGUMENTS {
                return Err(whole.fail(JsonRpcError::Params));
            }
            if !is_word(name, MAX_NAME) {
                return Err(whole.json.fail(JsonError::Name));
            }
            let mut text = String::new();
            map.next_value_seed(Walk {
                out: Some(&mut text),
                bare: true,
                ..Walk::over(whole.json, MAX_DEPTH - 2)
            })?;
            arguments.push((name.to_owned(), text));
            Ok(())
        })?;
        Ok(Some(arguments))
    }
}

/// The error of an answer: whether it has a code and a message.
struct ErrorSeed<'c>(Whole<'c>);

impl<'de> DeserializeSeed<'de> for ErrorSeed<'_> {
    type Value = bool;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<bool, D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ErrorSeed<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let ErrorSeed(whole) = self;
        let (mut code, mut message) = (false, false);
        object(whole.json, &mut map, true, |name, map| {
            let value = map.next_value_seed(Walk::over(whole.json, MAX_DEPTH - 1))?;
            code |= name == "code" && matches!(value, Plain::Integer(_));
            message |= name == "message" && matches!(value, Plain::Text(_));
            Ok(())
        })?;
        Ok(code && message)
    }
}

/// What passes is read by a plain parser as the same.
pub(super) fn fuzz(data: &[u8]) {
    let Ok(body) = read(data, 1 << 16) else { return };
    let plain: Result<serde_json::Value, _> = serde_json::from_slice(data);
    assert!(plain.is_ok());
    let plain = plain.unwrap_or_default();
    let list = match plain {
        serde_json::Value::Array(list) => list,
        one => vec![one],
    };
    assert_eq!(list.len(), body.messages.len());
    for (message, plain) in body.messages.iter().zip(list) {
        let member = |name: &str| plain.get(name);
        assert!(
            plain
                .as_object()
                .is_some_and(|o| o.keys().all(|k| ENVELOPE.contains(&k.as_str())))
        );
        assert_eq!(member("jsonrpc").and_then(|v| v.as_str()), Some("2.0"));
        assert_eq!(
            member("method").and_then(|v| v.as_str()),
            message.method.as_deref()
        );
        assert_eq!(member("result").is_some(), message.kind == Kind::Response);
        assert_eq!(member("error").is_some(), message.kind == Kind::Error);
        let params = member("params");
        let text = |name: &str| params.and_then(|p| p.get(name)).and_then(|v| v.as_str());
        match &message.subject {
            Subject::Tool { name, arguments } | Subject::Prompt { name, arguments } => {
                assert_eq!(text("name"), Some(name.as_str()));
                for (name, value) in arguments {
                    let plain = params.and_then(|p| p.get("arguments")).and_then(|a| a.get(name));
                    assert!(plain.is_some_and(|plain| match plain {
                        serde_json::Value::String(text) => text == value,
                        // Floating point numbers are spelled otherwise there.
                        plain => {
                            let text = plain.to_string();
                            text == *value || text.contains(['.', 'e'])
                        }
                    }));
                }
            }
            Subject::Resource { uri } => assert_eq!(text("uri"), Some(uri.as_str())),
            Subject::Other => {}
        }
    }
}
