//! GraphQL over HTTP: which operation a request runs, and which root fields.
//!
//! [`read`] takes a request as it is made in practice: POST with JSON (one request or a batch), POST with
//! `application/graphql`, GET with a query string. Of each it tells the kind of the operation that will run and the names
//! of the fields at its root, aliases resolved, fragments and inline fragments followed. Directives are not evaluated: a field
//! under `@skip` counts. What lies deeper than the root is checked for its form and not told.
//!
//! Refused is what two servers could take differently: parameters of the request in the query string of a POST (some
//! servers prefer them to the body), members that are not known or come twice or in another case, a text and the name of
//! a stored query together, several operations and no name to choose by, a name that no operation has, fragments that are
//! missing, twice there or that spread themselves, definitions that are not executable, and control characters. A request
//! without a text is a **persisted query**, whose operation nobody here knows: it is told as such, to be refused.
//!
//! The reader of documents is our own, some 400 lines without a dependency. The crates at hand (`graphql-parser`,
//! `apollo-parser`; both MIT or Apache-2.0) read schemas as well, make a tree of everything, of which a few names are wanted
//! here, and take what the specification takes, where this one must refuse more: what older and newer readers end at different
//! places.
mod document;
mod http;
mod lexer;
mod select;

pub use self::http::read;
pub use crate::json::JsonError;

/// Largest document, in bytes.
pub const MAX_DOCUMENT: usize = 256 * 1024;

/// Deepest nesting of selections and values.
pub const MAX_DEPTH: u8 = 64;

/// Most requests of a batch.
pub const MAX_BATCH: usize = 16;

/// Most operations and fragments of a document.
pub const MAX_DEFINITIONS: usize = 256;

/// Most root fields of an operation, each name counted once.
pub const MAX_FIELDS: usize = 256;

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GraphqlError {
    /// Longer than the limit.
    #[error("a GraphQL request of more than {0} bytes")]
    Long(usize),
    /// Neither GET nor POST.
    #[error("a GraphQL request by a method other than GET and POST")]
    Method,
    /// A body of another type.
    #[error("a GraphQL request that is neither application/json nor application/graphql")]
    ContentType,
    /// Not JSON that all read alike.
    #[error("a GraphQL request that is refused: {0}")]
    Json(#[source] JsonError),
    /// A member or parameter that is not known, or twice there, or in the wrong place.
    #[error("a GraphQL request with a parameter that is unknown, repeated or in the wrong place")]
    Parameter,
    /// No query at all, or a text and the name of a stored one.
    #[error("a GraphQL request with no query, or with two")]
    Query,
    /// An empty batch, or more than [`MAX_BATCH`].
    #[error("a GraphQL batch of no request, or of more than {MAX_BATCH}")]
    Batch,
    /// The document is not of GraphQL, at this byte.
    #[error("a GraphQL document with an error at byte {0}")]
    Syntax(usize),
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("a GraphQL document nested deeper than {MAX_DEPTH}")]
    Depth,
    /// More definitions or root fields than the limits.
    #[error("a GraphQL document with too many definitions or root fields")]
    Many,
    /// A name that is defined twice, or an operation without a name beside others.
    #[error("a GraphQL document that defines a name twice")]
    Duplicate,
    /// A fragment that is not there.
    #[error("a GraphQL document that spreads a fragment that it lacks")]
    Fragment,
    /// A fragment that spreads itself.
    #[error("a GraphQL document with a fragment that spreads itself")]
    Cycle,
    /// No operation has the name, or there are several and no name.
    #[error("a GraphQL request that does not say which of its operations is to run")]
    Choice,
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Whether it is an array, were it of one.
    pub batch: bool,
    /// At least one.
    pub queries: Vec<Query>,
}

/// One query of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// A document; this operation of it will run.
    Operation(Operation),
    /// No text: the server is to look it up.
    Persisted,
}

/// The operation that will run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// What it does.
    pub kind: Kind,
    /// Its name.
    pub name: Option<String>,
    /// The names of its root fields, each once, in the order of their first mention.
    pub fields: Vec<String>,
}

/// The kinds of operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Reads.
    Query,
    /// Changes something.
    Mutation,
    /// Reads, again and again.
    Subscription,
}

impl Kind {
    /// As it is written in a document and in a policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Query => "query",
            Kind::Mutation => "mutation",
            Kind::Subscription => "subscription",
        }
    }
}

/// Reads the text of a document and chooses its operation.
pub fn operation(text: &str, name: Option<&str>) -> Result<Operation, GraphqlError> {
    if text.len() > MAX_DOCUMENT {
        return Err(GraphqlError::Long(MAX_DOCUMENT));
    }
    select::select(&document::parse(text)?, name)
}

/// The fuzzer's way in: any bytes are a request or an error, and what the document says does not depend on its white space.
#[doc(hidden)]
pub fn fuzz_graphql(data: &[u8]) {
    self::http::fuzz(data);
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(found) = operation(text, None) else { return };
    assert!(!found.fields.is_empty() && found.fields.len() <= MAX_FIELDS);
    assert!(found.fields.iter().all(|field| text.contains(field.as_str())));
    // Written anew, token by token, it says the same.
    let (mut lexer, mut again) = (lexer::Lexer::new(text), String::new());
    while let Ok(Some(token)) = lexer.next() {
        again.push_str(text.get(token.from..token.to).unwrap_or_default());
        again.push_str(" ,\n#x\r");
    }
    assert!(again.len() > MAX_DOCUMENT || operation(&again, None) == Ok(found));
}
