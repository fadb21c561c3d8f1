//! Representations of a result, from their media types to the names that clients know.
use serde_json::{Map, Value};

/// What the startup code calls data that it took from a figure or a table.
const CHART: &str = "application/vnd.qila.chart+json";
const DATA: &str = "application/vnd.qila.data+json";

fn name(media: &str) -> Option<&'static str> {
    Some(match media {
        "text/plain" => "text",
        "text/html" => "html",
        "text/markdown" => "markdown",
        "image/svg+xml" => "svg",
        "image/png" => "png",
        "image/jpeg" => "jpeg",
        "application/pdf" => "pdf",
        "text/latex" => "latex",
        "application/json" => "json",
        "application/javascript" => "javascript",
        CHART => "chart",
        DATA => "data",
        _ => return None,
    })
}

/// By name; what has none is among `extra`, by its media type.
pub(crate) fn parts(bundle: &Map<String, Value>) -> Map<String, Value> {
    let mut out = Map::new();
    let mut extra = Map::new();
    for (media, value) in bundle {
        match name(media) {
            Some(name) => out.insert(name.to_owned(), tidy(value)),
            None => extra.insert(media.clone(), value.clone()),
        };
    }
    if !extra.is_empty() {
        out.insert("extra".into(), Value::Object(extra));
    }
    out
}

/// Base64 comes with line ends in it, and texts may come as lists of lines.
fn tidy(value: &Value) -> Value {
    match value {
        Value::Array(lines) if lines.iter().all(Value::is_string) => {
            let all: Vec<&str> = lines.iter().filter_map(Value::as_str).collect();
            Value::String(all.concat())
        }
        Value::String(text) if text.ends_with('\n') => Value::String(text.trim_end_matches('\n').to_owned()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn known_types_have_names_and_others_are_kept() {
        let bundle =
            json!({"text/plain": "1", "image/png": "aGk=\n", "text/html": ["<b>", "x</b>"], "x/y": 3});
        let parts = parts(bundle.as_object().unwrap());
        assert_eq!(
            Value::Object(parts),
            json!({"text": "1", "png": "aGk=", "html": "<b>x</b>", "extra": {"x/y": 3}})
        );
    }
}
