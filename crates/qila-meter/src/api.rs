//! Which model API a request speaks.
use serde::{Deserialize, Serialize};
use std::fmt;

/// A model API that this crate reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Api {
    /// OpenAI chat completions, and the many servers that copy them.
    OpenaiChat,
    /// OpenAI responses.
    OpenaiResponses,
    /// OpenAI embeddings.
    OpenaiEmbeddings,
    /// Anthropic messages.
    AnthropicMessages,
    /// Gemini `generateContent` and `streamGenerateContent`.
    Gemini,
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Api::OpenaiChat => "openai_chat",
            Api::OpenaiResponses => "openai_responses",
            Api::OpenaiEmbeddings => "openai_embeddings",
            Api::AnthropicMessages => "anthropic_messages",
            Api::Gemini => "gemini",
        })
    }
}

/// Hosts of model providers, as suffixes.
const MODEL_HOSTS: &[&str] = &[
    "api.openai.com",
    "openai.azure.com",
    "cognitiveservices.azure.com",
    "services.ai.azure.com",
    "api.anthropic.com",
    "generativelanguage.googleapis.com",
    "aiplatform.googleapis.com",
    "openrouter.ai",
    "api.mistral.ai",
    "api.deepseek.com",
    "api.groq.com",
    "api.together.xyz",
    "api.fireworks.ai",
    "api.x.ai",
    "api.perplexity.ai",
    "api.cohere.com",
];

/// Whether a host is one of a model provider: what is sent there may cost money.
pub fn is_model_host(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    MODEL_HOSTS.iter().any(|known| {
        host.strip_suffix(known)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with(['.', '-']))
    })
}

/// The API that a request speaks, if it is one that this crate reads.
///
/// Any host is taken: what is compatible with OpenAI is known by how its path ends (`/chat/completions`, `/responses`,
/// `/embeddings`, `/v1/messages`, `:generateContent`, `:streamGenerateContent`). The path may carry a query, percent-encoding,
/// doubled or trailing slashes and any case: what an upstream might take for the path is taken for it here, since a call that is
/// not seen would not be paid. Off a provider's host ([`is_model_host`]) a body that says it is something other than JSON is none.
pub fn recognise(host: &str, method: &str, path: &str, content_type: Option<&str>) -> Option<Api> {
    if method != "POST" {
        return None;
    }
    let ours = is_model_host(host);
    if !ours && content_type.is_some_and(|t| !is_json(t)) {
        return None;
    }
    let path = plain(path);
    let segments: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
    match segments.as_slice() {
        [.., "chat", "completions"] => Some(Api::OpenaiChat),
        [.., "responses"] => Some(Api::OpenaiResponses),
        [.., "embeddings"] => Some(Api::OpenaiEmbeddings),
        [.., "v1", "messages"] => Some(Api::AnthropicMessages),
        [.., last] => match last.rsplit_once(':') {
            Some((name, "generatecontent" | "streamgeneratecontent")) if !name.is_empty() => {
                Some(Api::Gemini)
            }
            _ => None,
        },
        [] => None,
    }
}

/// Whether a request to a provider's host may cost although no reader here can tell how much: images, speech, batches, legacy
/// completions, anything new. Under a budget of tokens or money such a request is to be refused.
///
/// Reading (`GET`, `HEAD`, `OPTIONS`), deleting and counting tokens cost nothing.
pub fn unmetered(host: &str, method: &str, path: &str, content_type: Option<&str>) -> bool {
    if !is_model_host(host) || matches!(method, "GET" | "HEAD" | "OPTIONS" | "DELETE") {
        return false;
    }
    let path = plain(path);
    let counts = path.ends_with(":counttokens")
        || path.trim_end_matches('/').ends_with("/count_tokens")
        || path.trim_end_matches('/').ends_with("/responses/input_tokens");
    !counts && recognise(host, method, &path, content_type).is_none()
}

/// The model that a path names: `…/models/NAME:generateContent` (Gemini), `…/deployments/NAME/…` (Azure).
pub(crate) fn model_in_path(api: Api, path: &str) -> Option<String> {
    let path = decoded(path.split(['?', '#']).next().unwrap_or(""));
    let name = if api == Api::Gemini {
        path.trim_end_matches('/').rsplit('/').next()?.rsplit_once(':')?.0
    } else {
        let mut segments = path.split('/').skip_while(|s| *s != "deployments");
        segments.nth(1)?
    };
    let sound = !name.is_empty() && name.len() <= crate::MAX_NAME && !name.contains(char::is_control);
    sound.then(|| name.to_owned())
}

/// Whether the response to a path is a stream whatever the body says.
pub(crate) fn streams_by_path(path: &str) -> bool {
    plain(path).ends_with(":streamgeneratecontent")
}

fn is_json(content_type: &str) -> bool {
    let kind = content_type
        .split(';')
        .next()
        .unwrap_or("")
        .trim()
        .to_ascii_lowercase();
    kind.ends_with("/json") || kind.ends_with("+json")
}

/// The path without its query, decoded, in lower case.
fn plain(path: &str) -> String {
    let path = path.split(['?', '#']).next().unwrap_or("");
    decoded(path).to_ascii_lowercase()
}

/// Takes percent-encoding off, as often as it is on, three times at most.
fn decoded(path: &str) -> String {
    let mut text = path.to_owned();
    for _ in 0..3 {
        if !text.contains('%') {
            break;
        }
        text = decode(&text);
    }
    text
}

fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let code = after
            .get(..2)
            .filter(|_| byte == b'%')
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(code.unwrap_or(byte));
        rest = after
            .get(if code.is_some() { 2 } else { 0 }..)
            .unwrap_or_default();
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_apis() {
        for (host, path, expected) in [
            ("api.openai.com", "/v1/chat/completions", Some(Api::OpenaiChat)),
            (
                "api.openai.com",
                "/v1/chat/completions?x=/models",
                Some(Api::OpenaiChat),
            ),
            ("localhost", "/api/v2/chat/completions/", Some(Api::OpenaiChat)),
            ("localhost", "//v1//Chat/%63ompletions", Some(Api::OpenaiChat)),
            ("localhost", "/v1/chat%252Fcompletions", Some(Api::OpenaiChat)),
            (
                "x.openai.azure.com",
                "/openai/deployments/d/chat/completions?api-version=1",
                Some(Api::OpenaiChat),
            ),
            ("api.openai.com", "/v1/responses", Some(Api::OpenaiResponses)),
            ("api.openai.com", "/v1/responses/resp_1/cancel", None),
            ("api.openai.com", "/v1/embeddings", Some(Api::OpenaiEmbeddings)),
            (
                "api.anthropic.com",
                "/v1/messages?beta=true",
                Some(Api::AnthropicMessages),
            ),
            ("api.anthropic.com", "/v1/messages/batches", None),
            ("api.anthropic.com", "/v1/messages/count_tokens", None),
            ("chat.example", "/rooms/messages", None),
            (
                "generativelanguage.googleapis.com",
                "/v1beta/models/gemini-2.5-pro:generateContent",
                Some(Api::Gemini),
            ),
            (
                "g",
                "/v1/projects/p/locations/l/publishers/google/models/m%3AstreamGenerateContent?alt=sse",
                Some(Api::Gemini),
            ),
            ("g", "/v1beta/models/m:countTokens", None),
            ("g", "/", None),
            ("g", "", None),
        ] {
            assert_eq!(
                recognise(host, "POST", path, Some("application/json")),
                expected,
                "{path}"
            );
        }
        assert_eq!(
            recognise("api.openai.com", "GET", "/v1/chat/completions", None),
            None
        );
        let form = Some("application/x-www-form-urlencoded");
        assert_eq!(recognise("forms.example", "POST", "/responses", form), None);
        assert_eq!(
            recognise("api.openai.com", "POST", "/v1/responses", form),
            Some(Api::OpenaiResponses)
        );
        assert_eq!(
            recognise(
                "x.example",
                "POST",
                "/responses",
                Some("application/problem+json; a=b")
            ),
            Some(Api::OpenaiResponses)
        );
    }

    #[test]
    fn providers_and_what_is_not_metered() {
        assert!(is_model_host("API.openai.com."));
        assert!(is_model_host("us-central1-aiplatform.googleapis.com"));
        assert!(!is_model_host("notapi.openai.com.evil.example"));
        assert!(!is_model_host("evilopenrouter.ai"));
        let json = Some("application/json");
        for (method, path, expected) in [
            ("POST", "/v1/images/generations", true),
            ("POST", "/v1/batches", true),
            ("PUT", "/v1/new", true),
            ("POST", "/v1/chat/completions", false),
            ("GET", "/v1/models", false),
            ("POST", "/v1/messages/count_tokens", false),
        ] {
            assert_eq!(
                unmetered("api.openai.com", method, path, json),
                expected,
                "{path}"
            );
        }
        assert!(!unmetered("pypi.org", "POST", "/upload", json));
    }

    #[test]
    fn models_in_paths() {
        assert_eq!(
            model_in_path(Api::Gemini, "/v1beta/models/Gemini-2.5-pro%3AgenerateContent?k").as_deref(),
            Some("Gemini-2.5-pro")
        );
        assert_eq!(
            model_in_path(Api::OpenaiChat, "/openai/deployments/mine/chat/completions").as_deref(),
            Some("mine")
        );
        assert_eq!(model_in_path(Api::OpenaiChat, "/v1/chat/completions"), None);
        assert_eq!(model_in_path(Api::Gemini, "/:generateContent"), None);
        assert!(streams_by_path("/m:streamGenerateContent?alt=sse"));
    }
}
