//! Reading what providers answer.
use crate::error::MintError;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Longest reason of a provider's that is passed on, in characters.
const WHY: usize = 120;

/// The reason that a provider gives, behind a colon: printable, short, and nothing where there is none.
pub(crate) fn why(body: &[u8]) -> String {
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return String::new();
    };
    let text = ["error_description", "error", "message"]
        .iter()
        .find_map(|key| value.get(key)?.as_str())
        .or_else(|| value.get("errors")?.get(0)?.as_str());
    let clean: String = text
        .unwrap_or_default()
        .chars()
        .map(|c| if c.is_ascii_graphic() { c } else { ' ' })
        .take(WHY)
        .collect();
    match clean.trim() {
        "" => String::new(),
        clean => format!(": {clean}"),
    }
}

/// Whether one of Vault's reasons is about what is given.
pub(crate) fn says(body: &[u8], words: &[&str]) -> bool {
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return false;
    };
    let errors = value.get("errors").and_then(Value::as_array);
    errors.is_some_and(|errors| {
        errors
            .iter()
            .filter_map(Value::as_str)
            .any(|e| words.iter().any(|w| e.contains(w)))
    })
}

/// Reads a body, without a word of it in the error.
pub(crate) fn json<T: DeserializeOwned>(provider: &'static str, body: &[u8]) -> Result<T, MintError> {
    serde_json::from_slice(body).map_err(|e| MintError::Reply {
        provider,
        what: match e.classify() {
            serde_json::error::Category::Data => "JSON that is not of its API".into(),
            _ => "what is not JSON".into(),
        },
    })
}
