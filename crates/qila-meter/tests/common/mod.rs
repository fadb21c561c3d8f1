//! The transcripts and what they say.
#![allow(dead_code, reason = "each test binary uses its own part")]
use qila_meter::{Api, Content, Keep, Outcome, Part, Reader, Usage};

/// A transcript, by the API that speaks so.
pub const TRANSCRIPTS: &[(Api, &str, &[u8])] = &[
    (
        Api::OpenaiChat,
        "chat.json",
        include_bytes!("../transcripts/chat.json"),
    ),
    (
        Api::OpenaiChat,
        "chat.sse",
        include_bytes!("../transcripts/chat.sse"),
    ),
    (
        Api::OpenaiResponses,
        "responses.json",
        include_bytes!("../transcripts/responses.json"),
    ),
    (
        Api::OpenaiResponses,
        "responses.sse",
        include_bytes!("../transcripts/responses.sse"),
    ),
    (
        Api::AnthropicMessages,
        "anthropic.json",
        include_bytes!("../transcripts/anthropic.json"),
    ),
    (
        Api::AnthropicMessages,
        "anthropic.sse",
        include_bytes!("../transcripts/anthropic.sse"),
    ),
    (
        Api::Gemini,
        "gemini.json",
        include_bytes!("../transcripts/gemini.json"),
    ),
    (
        Api::Gemini,
        "gemini.sse",
        include_bytes!("../transcripts/gemini.sse"),
    ),
    (
        Api::Gemini,
        "gemini-list.json",
        include_bytes!("../transcripts/gemini-list.json"),
    ),
    (
        Api::OpenaiEmbeddings,
        "embeddings.json",
        include_bytes!("../transcripts/embeddings.json"),
    ),
];

pub fn transcript(name: &str) -> (Api, &'static [u8]) {
    let found = TRANSCRIPTS.iter().find(|(_, n, _)| *n == name);
    found.map(|(api, _, bytes)| (*api, *bytes)).unwrap()
}

pub fn read(api: Api, status: u16, keep: Keep, pieces: &[&[u8]]) -> Outcome {
    let mut reader = Reader::new(api, status, keep);
    for piece in pieces {
        reader.push(piece);
    }
    reader.finish()
}

pub fn read_text(api: Api, body: &str) -> Outcome {
    read(api, 200, Keep::Text(1 << 20), &[body.as_bytes()])
}

/// What was said, a line for each part.
pub fn said(outcome: &Outcome) -> Vec<String> {
    let text = |c: &Content| String::from_utf8_lossy(c.held()).into_owned();
    let line = |part: &Part| match part {
        Part::Text(c) => format!("text {}", text(c)),
        Part::Reasoning(c) => format!("reasoning {}", text(c)),
        Part::ToolCall(t) => {
            let hosted = if t.hosted { " (hosted)" } else { "" };
            format!(
                "{}{hosted} {} {}",
                t.name,
                t.id.as_deref().unwrap_or("-"),
                text(&t.arguments)
            )
        }
    };
    outcome.choices.iter().flat_map(|c| &c.parts).map(line).collect()
}

/// The usage that all transcripts of an API tell.
pub fn usage(api: Api) -> Usage {
    match api {
        Api::OpenaiChat => Usage {
            input: 1486,
            cached_input: 1408,
            output: 651,
            reasoning: 512,
            ..Usage::default()
        },
        Api::OpenaiResponses => Usage {
            input: 328,
            cached_input: 100,
            cache_write: 50,
            output: 52,
            reasoning: 20,
            hosted_calls: 1,
            ..Usage::default()
        },
        Api::AnthropicMessages => Usage {
            input: 5250,
            cached_input: 4000,
            cache_write: 1000,
            cache_write_long: 200,
            output: 89,
            reasoning: 30,
            ..Usage::default()
        },
        Api::Gemini => Usage {
            input: 11_600,
            cached_input: 10_000,
            audio_input: 500,
            output: 11_000,
            reasoning: 10_000,
            ..Usage::default()
        },
        _ => Usage {
            input: 8,
            ..Usage::default()
        },
    }
}
