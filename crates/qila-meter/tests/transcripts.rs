//! Responses as the providers document them, streamed and not.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside a test function"
)]
mod common;
use common::*;
use qila_meter::{Api, Keep, Part};

#[test]
fn every_transcript_tells_its_usage() {
    for (api, name, bytes) in TRANSCRIPTS {
        let outcome = read(*api, 200, Keep::Hash, &[bytes]);
        assert_eq!(outcome.usage, Some(usage(*api)), "{name}");
        assert!(outcome.exact && !outcome.free, "{name}: {outcome:?}");
        assert_eq!(outcome.error, None, "{name}");
        assert_eq!(outcome.stream, name.ends_with(".sse"), "{name}");
        assert_eq!(outcome.surcharges, Vec::<String>::new(), "{name}");
        assert_eq!(outcome.cache_split, *api == Api::AnthropicMessages, "{name}");
    }
}

#[test]
fn streamed_or_not_the_same_was_said() {
    for (names, model, id, finish, expected) in [
        (
            &["chat.json", "chat.sse"][..],
            "gpt-5-2025-08-07",
            None,
            "tool_calls",
            &[
                "text Looking it up for café \"Zürich\".\n",
                "get_weather call_abc123 {\"city\":\"Zürich\"}",
                "read_file call_def456 {\"path\":\"/data/a\"}",
            ][..],
        ),
        (
            &["responses.json", "responses.sse"],
            "gpt-6-sol",
            Some("resp_67ccd3a9da748190baa7f1570fe91ac604becb25c45c1d41"),
            "",
            &[
                "reasoning The user wants the weather.",
                "web_search_call (hosted) - ",
                "text Let me look. One moment.",
                "get_weather call_1 {\"city\":\"Paris\"}",
            ],
        ),
        (
            &["anthropic.json", "anthropic.sse"],
            "claude-sonnet-4-6",
            Some("msg_01XFDUDYJgAACzvnptvVoYEL"),
            "tool_use",
            &[
                "reasoning I should look first.",
                "text I'll check the weather.",
                "get_weather toolu_01T1x1fJ34qAmk2tNTrN7Up6 {\"location\":\"San Francisco, CA\",\"usage\":{\"input_tokens\":999999}}",
            ],
        ),
        (
            &["gemini.json", "gemini.sse", "gemini-list.json"],
            "gemini-2.5-flash",
            Some("mAitaLmkHPPlz7IPvtfUqQ4"),
            "STOP",
            &[
                "reasoning Weather first.",
                "text Let me see.",
                "get_weather - {\"city\":\"Oslo\",\"days\":2}",
                "get_time - {}",
            ],
        ),
    ] {
        for name in names {
            let (api, bytes) = transcript(name);
            let outcome = read(api, 200, Keep::Text(1 << 20), &[bytes]);
            assert_eq!(said(&outcome), expected, "{name}");
            assert_eq!(outcome.model.as_deref(), Some(model), "{name}");
            if id.is_some() {
                assert_eq!(outcome.id.as_deref(), id, "{name}");
            }
            let reason = outcome.choices[0].finish_reason.clone();
            assert_eq!(reason.as_deref().unwrap_or(""), finish, "{name}");
        }
        // The hashes are of the same texts.
        let hashes = |name: &str| {
            let (api, bytes) = transcript(name);
            let outcome = read(api, 200, Keep::Hash, &[bytes]);
            let parts: Vec<Part> = outcome.choices.into_iter().flat_map(|c| c.parts).collect();
            parts
        };
        for name in names {
            assert_eq!(hashes(name), hashes(names[0]), "{name}");
        }
    }
}

#[test]
fn cutting_changes_nothing() {
    for (api, name, bytes) in TRANSCRIPTS {
        let whole = read(*api, 200, Keep::Text(300), &[bytes]);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(read(*api, 200, Keep::Text(300), &single), whole, "{name}");
        for at in 0..bytes.len() {
            let (before, after) = bytes.split_at(at);
            assert_eq!(
                read(*api, 200, Keep::Text(300), &[before, after]),
                whole,
                "{name} cut at {at}"
            );
        }
    }
}

#[test]
fn what_is_cut_off_is_not_exact() {
    for (api, name, bytes) in TRANSCRIPTS {
        let text = std::str::from_utf8(bytes).unwrap();
        // What makes a response whole is in its last event, or in the last byte of its JSON.
        let end = match *name {
            "chat.sse" => text.find("\n\ndata: [DONE]").unwrap(),
            name if name.ends_with(".sse") => text.trim_end().len(),
            _ => text.trim_end().len() - 1,
        };
        for at in 0..end {
            let outcome = read(*api, 200, Keep::Nothing, &[&bytes[..at]]);
            assert!(!outcome.exact, "{name} cut off at {at}");
            let told = outcome.usage.unwrap_or_default();
            assert!(
                told.tokens() <= usage(*api).tokens(),
                "{name} cut off at {at}: more than in all"
            );
        }
        assert!(
            !read(
                *api,
                200,
                Keep::Nothing,
                &[&[bytes.to_vec(), b"x".to_vec()].concat()]
            )
            .exact
                || name.ends_with(".sse"),
            "{name}"
        );
    }
}

#[test]
fn usage_cannot_be_hidden() {
    for (api, body, input, output) in [
        // A key that stands twice: the larger counts, whichever comes last.
        (
            Api::OpenaiChat,
            r#"{"choices":[],"usage":{"prompt_tokens":9,"prompt_tokens":1,"completion_tokens":1,"completion_tokens":9}}"#,
            9,
            9,
        ),
        (
            Api::OpenaiChat,
            r#"{"usage":{"prompt_tokens":9,"completion_tokens":9},"usage":{"prompt_tokens":1,"completion_tokens":1}}"#,
            9,
            9,
        ),
        (
            Api::OpenaiChat,
            r#"{"usage":{"prompt_tokens":9,"completion_tokens":9},"usage":null}"#,
            9,
            9,
        ),
        (
            Api::OpenaiChat,
            r#"{"usage":{"prompt\u005ftokens":9,"completion_tokens":-4,"total_tokens":20}}"#,
            9,
            11,
        ),
        // Reasoning that only the total holds.
        (
            Api::OpenaiChat,
            r#"{"usage":{"prompt_tokens":758,"completion_tokens":102,"total_tokens":1725}}"#,
            758,
            967,
        ),
        (
            Api::OpenaiChat,
            r#"{"usage":{"prompt_tokens":1,"completion_tokens":1e30}}"#,
            1,
            u64::MAX,
        ),
        (
            Api::OpenaiChat,
            r#"{"usage":{"prompt_tokens":1,"completion_tokens":1.5,"completion_tokens_details":{"reasoning_tokens":7}}}"#,
            1,
            7,
        ),
        (
            Api::OpenaiResponses,
            r#"{"status":"completed","usage":{"input_tokens":3,"input_tokens_details":{"cached_tokens":8},"output_tokens":2}}"#,
            8,
            2,
        ),
        // Iterations that the outer figures leave out.
        (
            Api::AnthropicMessages,
            r#"{"usage":{"input_tokens":23,"output_tokens":10,"iterations":[{"type":"compaction","input_tokens":180,"output_tokens":35},{"type":"message","input_tokens":23,"output_tokens":10}]}}"#,
            203,
            45,
        ),
        (
            Api::Gemini,
            r#"{"candidates":[{"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":5,"totalTokenCount":50}}"#,
            5,
            45,
        ),
        (
            Api::Gemini,
            r#"{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":5,"totalTokenCount":5}}"#,
            5,
            0,
        ),
    ] {
        let outcome = read_text(api, body);
        let usage = outcome.usage.unwrap();
        assert_eq!((usage.input, usage.output), (input, output), "{body}");
        assert!(outcome.exact, "{body}");
    }
    // Figures that fall in a stream.
    let falls = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":9}}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n";
    assert_eq!(read_text(Api::OpenaiChat, falls).usage.unwrap().tokens(), 18);
    // A tool's arguments are no usage.
    let (api, bytes) = transcript("anthropic.json");
    assert_eq!(read(api, 200, Keep::Nothing, &[bytes]).usage.unwrap().input, 5250);
}

#[test]
fn what_is_whole_and_what_is_not() {
    for (api, body, exact) in [
        (Api::OpenaiChat, r#"{"choices":[]}"#, false),
        (Api::OpenaiChat, r#"{"usage":{"prompt_tokens":1}}"#, false),
        (
            Api::OpenaiResponses,
            r#"{"status":"in_progress","usage":{"input_tokens":1,"output_tokens":1}}"#,
            false,
        ),
        (
            Api::OpenaiResponses,
            r#"{"status":"incomplete","usage":{"input_tokens":1,"output_tokens":1}}"#,
            true,
        ),
        (
            Api::Gemini,
            r#"{"candidates":[{}],"usageMetadata":{"promptTokenCount":5,"candidatesTokenCount":1}}"#,
            false,
        ),
        (
            Api::OpenaiChat,
            "data: {\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\n\n",
            false,
        ),
        (
            Api::OpenaiChat,
            "data: {\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\n\ndata: [DONE]\n\n",
            true,
        ),
        (
            Api::OpenaiChat,
            ": wait\r\n\r\ndata: {\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\r\n\r\ndata:[DONE] \r\n\r\n",
            true,
        ),
        (Api::OpenaiChat, "", false),
        (Api::OpenaiChat, "<html>", false),
        (Api::OpenaiChat, "data: [DONE]\n\n", false),
        (Api::OpenaiChat, "data: [DON\n\ndata: [1]\n\n", false),
        (
            Api::AnthropicMessages,
            "data: {\"type\":\"message_stop\",\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}\n\n",
            true,
        ),
    ] {
        assert_eq!(read_text(api, body).exact, exact, "{body}");
    }
}

#[test]
fn errors_cost_nothing_where_they_are_the_apis_own() {
    let anthropic =
        r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_1"}"#;
    let openai = r#"{"error":{"message":"Rate limit reached","type":"rate_limit_exceeded","param":null,"code":"rate_limit_exceeded"}}"#;
    let gemini = r#"{"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT"}}"#;
    for (api, status, body, free, error) in [
        (
            Api::AnthropicMessages,
            529,
            anthropic,
            true,
            Some("overloaded_error"),
        ),
        (Api::OpenaiChat, 429, openai, true, Some("rate_limit_exceeded")),
        (Api::Gemini, 400, gemini, true, Some("INVALID_ARGUMENT")),
        (Api::OpenaiChat, 404, "", true, None),
        (Api::OpenaiChat, 307, "", true, None),
        // A proxy's own page says nothing of what the provider did.
        (Api::OpenaiChat, 504, "<html>gateway timeout</html>", false, None),
        (
            Api::OpenaiChat,
            500,
            r#"{"error":{},"usage":{"prompt_tokens":7,"completion_tokens":1}}"#,
            false,
            Some(""),
        ),
        (
            Api::AnthropicMessages,
            200,
            "event: error\ndata: {\"type\": \"error\", \"error\": {\"type\": \"api_error\"}}\n\n",
            false,
            Some("api_error"),
        ),
        (
            Api::OpenaiResponses,
            200,
            "data: {\"type\":\"error\",\"code\":\"x\",\"message\":\"y\"}\n\n",
            false,
            Some(""),
        ),
    ] {
        let outcome = read(api, status, Keep::Hash, &[body.as_bytes()]);
        assert_eq!(
            (outcome.free, outcome.error.as_deref()),
            (free, error),
            "{status} {body}"
        );
        assert!(!outcome.exact, "{body}");
    }
}

#[test]
fn surcharges_are_told() {
    for (api, body, expected) in [
        (
            Api::OpenaiChat,
            r#"{"service_tier":"priority"}"#,
            "service_tier:priority",
        ),
        (
            Api::OpenaiResponses,
            "data: {\"type\":\"response.completed\",\"response\":{\"service_tier\":\"fast\"}}\n\n",
            "service_tier:priority",
        ),
        (
            Api::AnthropicMessages,
            r#"{"usage":{"speed":"fast"}}"#,
            "speed:fast",
        ),
        (
            Api::AnthropicMessages,
            "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"inference_geo\":\"us\"}}}\n\n",
            "inference_geo:us",
        ),
    ] {
        assert_eq!(read_text(api, body).surcharges, [expected], "{body}");
    }
}

#[test]
fn shapes_of_compatible_servers() {
    // Several answers; an index after its text; reasoning under two names; the old function_call.
    let stream = concat!(
        "data: {\"choices\":[{\"delta\":{\"content\":\"B\"},\"index\":1},{\"delta\":{\"content\":\"A\",\"reasoning_content\":\"r\"},\"index\":0}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\",\"reasoning\":\"s\"}},{\"index\":1,\"delta\":{\"content\":\"b\"},\"finish_reason\":\"length\"}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"function_call\":{\"name\":\"f\",\"arguments\":\"{}\"}},\"finish_reason\":\"function_call\"}],\"x_groq\":{\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}}\n\n",
        "data: [DONE]\n\n",
    );
    let outcome = read_text(Api::OpenaiChat, stream);
    assert_eq!(said(&outcome), ["text Aa", "reasoning rs", "f - {}", "text Bb"]);
    let reasons: Vec<_> = outcome
        .choices
        .iter()
        .map(|c| c.finish_reason.as_deref())
        .collect();
    assert_eq!(reasons, [Some("function_call"), Some("length")]);
    assert!(outcome.exact);
    // Mistral's parts, and a text too long to be held until its place is known.
    let long = "x".repeat(200_000);
    let body = format!(
        r#"{{"choices":[{{"message":{{"content":[{{"type":"thinking","thinking":[{{"text":"hm"}}]}},{{"type":"text","text":"{long}"}}]}}}}]}}"#
    );
    let outcome = read_text(Api::OpenaiChat, &body);
    assert_eq!(
        said(&outcome),
        ["reasoning hm".to_owned(), format!("text {long}")]
    );
}

#[test]
fn what_is_kept_is_bounded() {
    let piece = format!(
        "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n",
        "y".repeat(1000)
    );
    let stream = piece.repeat(500);
    for (keep, most) in [
        (Keep::Nothing, 0),
        (Keep::Hash, 0),
        (Keep::Text(10_000), 10_000 + qila_meter::MARGIN),
    ] {
        let outcome = read(Api::OpenaiChat, 200, keep, &[stream.as_bytes()]);
        let Part::Text(content) = &outcome.choices[0].parts[0] else {
            panic!()
        };
        assert_eq!(content.bytes(), 500_000);
        assert_eq!(content.held().len(), most);
    }
    // Many tools, many choices, many blocks.
    let many: String = (0..2000).map(|n| format!("data: {{\"choices\":[{{\"index\":{n},\"delta\":{{\"tool_calls\":[{{\"index\":{n},\"function\":{{\"name\":\"t{n}\"}}}}]}}}}]}}\n\n")).collect();
    let outcome = read(Api::OpenaiChat, 200, Keep::Hash, &[many.as_bytes()]);
    assert!(outcome.choices.len() <= 8 && outcome.tool_calls().count() <= 256);
    assert_eq!(outcome.left_out, 2000 - 256);
}
