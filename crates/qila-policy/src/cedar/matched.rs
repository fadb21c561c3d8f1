//! The texts by which a context says that a pattern held.
use crate::model::TextGlob;

/// Whether Cedar's own `like` says the same as this pattern, over a value that may be used as a path.
pub fn is_like(glob: &TextGlob) -> bool {
    glob.only_stars() && !glob.is_path()
}

/// Whether Cedar's own `like` says the same as this pattern, over a text that is no path.
pub fn is_plain_like(glob: &TextGlob) -> bool {
    glob.only_stars()
}

/// A query parameter matched a pattern.
pub fn query(name: &str, glob: &TextGlob) -> String {
    format!("query.{name}: {glob}")
}

/// A header matched a pattern.
pub fn header(name: &str, glob: &TextGlob) -> String {
    format!("headers.{name}: {glob}")
}

/// An argument of a tool matched a pattern.
pub fn argument(name: &str, glob: &TextGlob) -> String {
    format!("mcp.arguments.{name}: {glob}")
}

/// The name of a tool matched a pattern.
pub fn tool(glob: &TextGlob) -> String {
    format!("mcp.tool: {glob}")
}

/// The method of a message matched a pattern.
pub fn method(glob: &TextGlob) -> String {
    format!("mcp.method: {glob}")
}

/// Every root field of an operation matched one of the patterns.
pub fn fields(globs: &[TextGlob]) -> String {
    let globs: Vec<&str> = globs.iter().map(TextGlob::as_str).collect();
    format!("graphql.fields: {}", globs.join(" | "))
}
