//! Reading what providers answer.
use crate::error::MintError;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Most words of a reason that are passed on, and the longest of them, in bytes.
const WORDS: usize = 16;
const WORD: usize = 20;

/// The reason that a provider gives, behind a colon: plain words alone, for it may say back what it was sent; nothing where
/// there is none.
pub(crate) fn why(body: &[u8]) -> String {
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return String::new();
    };
    let text = ["error_description", "error", "message"]
        .iter()
        .find_map(|key| value.get(key)?.as_str())
        .or_else(|| value.get("errors")?.get(0)?.as_str());
    let words: Vec<&str> = text
        .unwrap_or_default()
        .split_ascii_whitespace()
        .take(WORDS)
        .map(|word| if plain(word) { word } else { "\u{2026}" })
        .collect();
    match words.join(" ") {
        words if words.is_empty() => words,
        words => format!(": {words}"),
    }
}

/// Whether a word is one of a language: letters, with the usual signs, and not long enough for a secret.
fn plain(word: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b"_-'\",.:;()".contains(&b);
    let mut bytes = word.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_uppercase() || inner(b));
    word.len() <= WORD && first && bytes.all(inner)
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
    serde_json::from_slice(body).map_err(|e| {
        let what = match e.classify() {
            serde_json::error::Category::Data => "JSON that is not of its API",
            _ => "what is not JSON",
        };
        MintError::reply(provider, what, None)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_words_and_nothing_that_was_sent() {
        for (body, expected) in [
            (r#"{"error":"invalid_grant"}"#, ": invalid_grant"),
            (r#"{"errors":["permission denied"]}"#, ": permission denied"),
            (
                r#"{"error":"x","error_description":"Bad token hvs.CAESIJ0 given"}"#,
                ": Bad token \u{2026} given",
            ),
            (
                r#"{"message":"secret=correcthorsebatterystaple \u001b[31m"}"#,
                ": \u{2026} \u{2026}",
            ),
            (r#"{"message":"sk-Ab mixedCase"}"#, ": \u{2026} \u{2026}"),
            (r#"{"errors":[]}"#, ""),
            ("<html>", ""),
        ] {
            assert_eq!(why(body.as_bytes()), expected, "{body}");
        }
    }
}
