//! An expert condition in Cedar.
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;

/// A Cedar expression over what is known of a request. Only [`crate::cedar`] makes one, after it compiled against the schema.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(into = "String")]
pub struct Condition {
    pub(crate) text: String,
    pub(crate) reads: Reads,
}

/// What of a request a condition looks at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Reads {
    /// What kind of body it is: `context.body`.
    pub body: bool,
    /// The size of the body.
    pub body_size: bool,
    /// The GraphQL operation.
    pub graphql: bool,
    /// The MCP message.
    pub mcp: bool,
    /// Query parameters, by name.
    pub query: BTreeSet<String>,
    /// Headers, by name.
    pub headers: BTreeSet<String>,
    /// Arguments of a tool, by name.
    pub arguments: BTreeSet<String>,
}

impl Condition {
    /// The expression, as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What it looks at.
    pub fn reads(&self) -> &Reads {
        &self.reads
    }
}

impl From<Condition> for String {
    fn from(condition: Condition) -> String {
        condition.text
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
