//! Requests as agents send them, and as agents that want to pay less would.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside a test function"
)]
use qila_meter::{ADDED, Api, JsonError, Prices, Request, Unreadable, ask_usage};

fn read(api: Api, body: &str) -> Result<Request, Unreadable> {
    let path = match api {
        Api::Gemini => "/v1beta/models/gemini-2.5-pro:generateContent",
        _ => "/v1/x",
    };
    Request::read(api, path, body.as_bytes())
}

const CHAT: &str = r#"{
  "model": "gpt-5", "stream": true, "n": 2, "max_completion_tokens": 300, "temperature": 0.2,
  "messages": [
    {"role": "system", "content": "Be \"brief\"."},
    {"role": "user", "content": [{"type": "text", "text": "Zürich?"}]},
    {"role": "assistant", "content": null, "audio": null, "parsed": null, "refusal": null, "annotations": [{"type": "url_citation"}], "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"type\":\"image_url\"}"}}]},
    {"role": "tool", "tool_call_id": "c1", "content": "{\"n\": 5}"}
  ],
  "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {"model": {"type": "string"}}}}}],
  "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}},
  "metadata": {"Model": "not a setting", "n": "5"}
}"#;

const RESPONSES: &str = r#"{
  "model": "gpt-6-sol", "instructions": "Be brief.", "stream": true, "store": false, "max_output_tokens": 1000,
  "input": [
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
    {"role": "assistant", "content": "hello"},
    {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "s"}], "encrypted_content": "gAAAAA"},
    {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "namespace": "n", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c", "output": "ok"},
    {"type": "custom_tool_call", "call_id": "d", "name": "patch", "input": "*** Begin Patch"}
  ],
  "tools": [{"type": "function", "name": "f", "strict": false, "parameters": {"type": "object"}}, {"type": "custom", "name": "patch", "format": {"type": "grammar"}}, {"type": "local_shell"}],
  "reasoning": {"effort": "high", "summary": "auto"}, "include": ["reasoning.encrypted_content"], "parallel_tool_calls": false, "prompt_cache_key": "k",
  "text": {"verbosity": "low", "format": {"type": "text"}}, "service_tier": "auto", "previous_response_id": null, "background": false
}"#;

const ANTHROPIC: &str = r#"{
  "model": "claude-sonnet-4-6", "max_tokens": 4096, "stream": true, "thinking": {"type": "enabled", "budget_tokens": 2048},
  "system": [{"type": "text", "text": "You are Claude.", "cache_control": {"type": "ephemeral"}}],
  "messages": [
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": [{"type": "thinking", "thinking": "t", "signature": "s"}, {"type": "tool_use", "id": "t1", "name": "f", "caller": {"type": "direct"}, "input": {"type": "image", "source": {"url": "u"}}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "ok"}], "is_error": false, "cache_control": {"type": "ephemeral", "ttl": "5m", "scope": "global"}}]}
  ],
  "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}}, {"type": "bash_20250124", "name": "bash"}],
  "tool_choice": {"type": "auto"}, "metadata": {"user_id": "u"}, "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}
}"#;

const GEMINI: &str = r#"{
  "systemInstruction": {"parts": [{"text": "Be brief."}]},
  "contents": [
    {"role": "user", "parts": [{"text": "hi"}]},
    {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"inlineData": 1}}, "thoughtSignature": "x"}]},
    {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"fileData": 2}}}]}
  ],
  "tools": [{"functionDeclarations": [{"name": "f", "parameters": {"type": "OBJECT"}}]}],
  "generationConfig": {"maxOutputTokens": 800, "candidateCount": 2, "temperature": 1, "thinkingConfig": {"includeThoughts": true}},
  "safetySettings": [{"category": "c", "threshold": "t"}]
}"#;

#[test]
fn what_agents_send_is_bounded_by_its_bytes() {
    let prices = Prices::embedded().unwrap();
    for (api, body, model, stream, output, tells) in [
        (Api::OpenaiChat, CHAT, "gpt-5", true, 600, false),
        (Api::OpenaiResponses, RESPONSES, "gpt-6-sol", true, 1000, true),
        (
            Api::AnthropicMessages,
            ANTHROPIC,
            "claude-sonnet-4-6",
            true,
            4096,
            true,
        ),
        (Api::Gemini, GEMINI, "gemini-2.5-pro", false, 1600, true),
        (
            Api::OpenaiEmbeddings,
            r#"{"model":"text-embedding-3-small","input":["a",[1,2,3]],"encoding_format":"float"}"#,
            "text-embedding-3-small",
            false,
            0,
            true,
        ),
    ] {
        let request = read(api, body).unwrap();
        assert_eq!(
            (request.model.as_str(), request.stream, request.tells_usage),
            (model, stream, tells),
            "{api}"
        );
        assert_eq!(
            (&request.beyond, &request.hosted, request.audio),
            (&None, &None, false),
            "{api}"
        );
        assert_eq!(
            (request.surcharges.len(), request.long_cache, request.other_models),
            (0, false, None),
            "{api}"
        );
        let worst = prices.worst(&request).unwrap();
        assert_eq!(
            (worst.input, worst.output),
            (body.len() as u64 + ADDED, output),
            "{api}"
        );
        assert!(prices.worst_cost(&request, &worst).unwrap().0 > 0, "{api}");
    }
}

#[test]
fn what_the_bytes_do_not_bound_is_named() {
    for (api, body, wanted) in [
        (
            Api::OpenaiChat,
            r#"{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:,"}}]}]}"#,
            "messages.[].content.[].type: image_url",
        ),
        (
            Api::OpenaiChat,
            r#"{"model":"m","messages":[{"content":[{"image_url":"https://x"}]}]}"#,
            "messages.[].content.[]: image_url",
        ),
        (
            Api::OpenaiChat,
            r#"{"model":"m","messages":[{"content":[{"type":"text","type":"input_audio","text":"x"}]}]}"#,
            "messages.[].content.[].type: input_audio",
        ),
        (
            Api::OpenaiChat,
            r#"{"model":"m","messages":[{"role":"assistant","audio":{"id":"a"}}]}"#,
            "messages.[]: audio",
        ),
        (
            Api::OpenaiChat,
            r#"{"model":"m","transforms":["middle-out"]}"#,
            "transforms",
        ),
        (
            Api::OpenaiResponses,
            r#"{"model":"m","previous_response_id":"resp_1"}"#,
            "previous_response_id",
        ),
        (
            Api::OpenaiResponses,
            r#"{"model":"m","conversation":{"id":"c"}}"#,
            "conversation",
        ),
        (
            Api::OpenaiResponses,
            r#"{"model":"m","prompt":{"id":"p"}}"#,
            "prompt",
        ),
        (
            Api::OpenaiResponses,
            r#"{"model":"m","input":[{"id":"msg_1"}]}"#,
            "input.[]: id",
        ),
        (
            Api::OpenaiResponses,
            r#"{"model":"m","input":[{"type":"item_reference","id":"msg_1"}]}"#,
            "input.[].type: item_reference",
        ),
        (
            Api::OpenaiResponses,
            r#"{"model":"m","input":[{"type":"reasoning","id":"rs_1","summary":[]}]}"#,
            "input.[]: id",
        ),
        (
            Api::OpenaiResponses,
            r#"{"model":"m","input":[{"content":[{"type":"input_file","file_id":"f"}]}]}"#,
            "input.[].content.[].type: input_file",
        ),
        (
            Api::OpenaiResponses,
            r#"{"model":"m","input":[{"type":"function_call_output","output":[{"type":"input_image"}]}]}"#,
            "input.[].output.[].type: input_image",
        ),
        (
            Api::AnthropicMessages,
            r#"{"model":"m","messages":[{"content":[{"type":"document","source":{}}]}]}"#,
            "messages.[].content.[].type: document",
        ),
        (
            Api::AnthropicMessages,
            r#"{"model":"m","messages":[{"content":[{"type":"tool_result","content":[{"type":"image"}]}]}]}"#,
            "messages.[].content.[].content.[].type: image",
        ),
        (
            Api::AnthropicMessages,
            r#"{"model":"m","container":"c"}"#,
            "container",
        ),
        (
            Api::AnthropicMessages,
            r#"{"model":"m","context_management":{"edits":[{"type":"compact_20260112"}]}}"#,
            "context_management.?.[].type: compact_20260112",
        ),
        (
            Api::Gemini,
            r#"{"contents":[{"parts":[{"inlineData":{"mimeType":"image/png","data":""}}]}]}"#,
            "contents.[].parts.[]: inlineData",
        ),
        (
            Api::Gemini,
            r#"{"contents":[{"parts":[{"file_data":{}}]}]}"#,
            "contents.[].parts.[]: file_data",
        ),
        (
            Api::Gemini,
            r#"{"cachedContent":"cachedContents/1"}"#,
            "cachedContent",
        ),
        (
            Api::Gemini,
            r#"{"contents":[{"parts":[{"functionResponse":{"parts":[{"inlineData":{}}]}}]}]}"#,
            "contents.[].parts.[].function_call.parts.[]: inlineData",
        ),
        (
            Api::OpenaiEmbeddings,
            r#"{"model":"m","input":[{"image":"u"}]}"#,
            "input.[]",
        ),
    ] {
        let wanted = wanted.replace("parts.[].function_call.parts", "parts.[].functionResponse.parts");
        let request = read(api, body).unwrap();
        assert_eq!(request.beyond.as_deref(), Some(wanted.as_str()), "{body}");
        assert!(request.audio, "{body}");
    }
}

#[test]
fn tools_of_the_provider_are_found() {
    for (api, body, wanted) in [
        (
            Api::OpenaiChat,
            r#"{"model":"m","web_search_options":{}}"#,
            Some("web_search_options"),
        ),
        (
            Api::OpenaiResponses,
            r#"{"model":"m","tools":[{"type":"function"},{"type":"web_search"}]}"#,
            Some("web_search"),
        ),
        (
            Api::OpenaiResponses,
            r#"{"model":"m","tools":[{"type":"mcp","server_url":"u"}]}"#,
            Some("mcp"),
        ),
        (
            Api::OpenaiResponses,
            r#"{"model":"m","tools":[{"type":"namespace","tools":[{"type":"function"},{"type":"file_search"}]}]}"#,
            Some("file_search"),
        ),
        (
            Api::AnthropicMessages,
            r#"{"model":"m","tools":[{"type":"web_search_20250305","name":"web_search"}]}"#,
            Some("web_search_20250305"),
        ),
        (
            Api::AnthropicMessages,
            r#"{"model":"m","mcp_servers":[{"url":"u"}]}"#,
            Some("mcp_servers"),
        ),
        (
            Api::AnthropicMessages,
            r#"{"model":"m","tools":[{"type":"custom","name":"x"},{"type":"text_editor_20250728"}]}"#,
            None,
        ),
        (
            Api::Gemini,
            r#"{"tools":[{"google_search":{}}]}"#,
            Some("google_search"),
        ),
        (
            Api::Gemini,
            r#"{"tools":[{"function_declarations":[]},{"codeExecution":{}}]}"#,
            Some("codeExecution"),
        ),
    ] {
        assert_eq!(read(api, body).unwrap().hosted.as_deref(), wanted, "{body}");
    }
}

#[test]
fn settings_that_cost() {
    let chat = |body: &str| read(Api::OpenaiChat, body).unwrap();
    assert_eq!(
        chat(r#"{"model":"m","service_tier":"priority"}"#).surcharges,
        ["service_tier:priority"]
    );
    assert_eq!(
        chat(r#"{"model":"m","service_tier":"fast"}"#).surcharges,
        ["service_tier:priority"]
    );
    assert!(
        chat(r#"{"model":"m","service_tier":"flex"}"#)
            .surcharges
            .is_empty()
    );
    assert!(chat(r#"{"model":"m","modalities":["text","audio"]}"#).audio);
    assert!(!chat(r#"{"model":"m","modalities":["text"]}"#).audio);
    assert_eq!(
        chat(r#"{"model":"m","max_tokens":10,"max_completion_tokens":20}"#).max_output,
        Some(20)
    );
    assert_eq!(chat(r#"{"model":"m","max_tokens":1e2}"#).max_output, Some(100));
    for unlimited in ["-1", "0", "null", "99999999999999999999999"] {
        assert_eq!(
            chat(&format!(r#"{{"model":"m","max_tokens":{unlimited}}}"#)).max_output,
            None,
            "{unlimited}"
        );
    }
    let body = r#"{"model":"m","max_tokens":10,"prediction":{"type":"content","content":"abc"}}"#;
    assert_eq!(chat(body).extra_output, body.len() as u64);
    let anthropic = |body: &str| read(Api::AnthropicMessages, body).unwrap();
    assert_eq!(
        anthropic(r#"{"model":"m","speed":"fast","inference_geo":"us"}"#).surcharges,
        ["speed:fast", "inference_geo:us"]
    );
    assert_eq!(anthropic(r#"{"model":"m","max_tokens":0}"#).max_output, Some(0));
    assert_eq!(
        anthropic(r#"{"model":"m","max_tokens":10,"thinking":{"budget_tokens":90}}"#).max_output,
        Some(100)
    );
    for body in [
        r#"{"model":"m","cache_control":{"type":"ephemeral","ttl":"1h"}}"#,
        r#"{"model":"m","system":[{"type":"text","text":"x","cache_control":{"ttl":"1h"}}]}"#,
        r#"{"model":"m","tools":[{"name":"x","cache_control":{"type":"ephemeral","ttl":"1h"}}]}"#,
    ] {
        assert!(anthropic(body).long_cache, "{body}");
    }
    assert_eq!(
        anthropic(r#"{"model":"m","fallbacks":[{"model":"n"}]}"#).other_models,
        Some("fallbacks")
    );
}

#[test]
fn bodies_that_two_readers_may_read_differently_are_refused() {
    let refused = |api, body: &str| read(api, body).unwrap_err();
    for (body, key) in [
        (r#"{"model":"m","model":"n"}"#, "model"),
        (r#"{"model":"m","max_tokens":1,"max_tokens":99999}"#, "max_tokens"),
        (
            r#"{"model":"m","max_tokens":1,"max\u005ftokens":99999}"#,
            "max_tokens",
        ),
        (r#"{"model":"m","stream":true,"stream":false}"#, "stream"),
        (
            r#"{"model":"m","stream_options":{"include_usage":true,"include_usage":false}}"#,
            "include_usage",
        ),
        (r#"{"model":"m","messages":[],"messages":[]}"#, "messages"),
    ] {
        assert_eq!(
            refused(Api::OpenaiChat, body),
            Unreadable::Duplicate(match key {
                "model" => "model",
                "max_tokens" => "max_tokens",
                "stream" => "stream",
                "include_usage" => "include_usage",
                _ => "messages",
            }),
            "{body}"
        );
    }
    let both = r#"{"generationConfig":{"maxOutputTokens":1,"max_output_tokens":9}}"#;
    assert!(matches!(refused(Api::Gemini, both), Unreadable::Duplicate(_)));
    for body in [
        r#"{"model":"m","Max_Tokens":99999}"#,
        "{\"model\":\"m\",\"max_token\u{17f}\":99999}",
        r#"{"model":"m","max_to\u212aens":99999}"#,
        r#"{"model":"m","MODEL":"n"}"#,
        r#"{"model":"m","maxOutputTokens":5}"#,
    ] {
        assert!(
            matches!(refused(Api::OpenaiChat, body), Unreadable::Spelling { .. }),
            "{body}"
        );
    }
    for body in [
        r#"{"model":"m","max_tokens":"5"}"#,
        r#"{"model":"m","n":[2]}"#,
        r#"{"model":"m","stream":"true"}"#,
        r#"{"model":["m"]}"#,
    ] {
        assert!(
            matches!(refused(Api::OpenaiChat, body), Unreadable::Kind(_)),
            "{body}"
        );
    }
    assert_eq!(refused(Api::OpenaiChat, "[]"), Unreadable::NoObject);
    assert_eq!(refused(Api::OpenaiChat, "\"x\""), Unreadable::NoObject);
    assert_eq!(refused(Api::OpenaiChat, "{}"), Unreadable::NoModel);
    assert_eq!(
        refused(Api::OpenaiChat, ""),
        Unreadable::Json(JsonError::Incomplete)
    );
    assert_eq!(
        refused(Api::OpenaiChat, "{\"model\":\"m\",}"),
        Unreadable::Json(JsonError::Syntax)
    );
    assert_eq!(
        refused(Api::OpenaiChat, "{\"model\":\"m\"} {}"),
        Unreadable::Json(JsonError::Syntax)
    );
    assert_eq!(
        Request::read(Api::OpenaiChat, "/", b"{\"model\":\"\xff\"}"),
        Err(Unreadable::Utf8)
    );
    let deep = format!("{{\"model\":\"m\",\"messages\":{}}}", "[".repeat(200));
    assert_eq!(refused(Api::OpenaiChat, &deep), Unreadable::Json(JsonError::Deep));
}

#[test]
fn the_path_names_a_model_too() {
    let azure = "/openai/deployments/my-gpt/chat/completions?api-version=2024-10-21";
    assert_eq!(
        Request::read(Api::OpenaiChat, azure, b"{}").unwrap().model,
        "my-gpt"
    );
    assert_eq!(
        Request::read(Api::OpenaiChat, azure, b"{\"model\":\"gpt-4o\"}")
            .unwrap()
            .model,
        "gpt-4o"
    );
    let gemini = "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse";
    let request = Request::read(Api::Gemini, gemini, b"{\"model\":\"cheap\"}").unwrap();
    assert_eq!((request.model.as_str(), request.stream), ("gemini-2.5-pro", true));
}

#[test]
fn usage_is_asked_for_and_nothing_else_changes() {
    for (body, expected) in [
        (
            r#"{"model":"m","stream":true}"#,
            Some(r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#),
        ),
        (
            r#"{"stream":true,"stream_options":null,"n":1.0} "#,
            Some(r#"{"stream":true,"stream_options":{"include_usage":true},"n":1.0} "#),
        ),
        (
            r#"{"stream":true,"stream_options": {} }"#,
            Some(r#"{"stream":true,"stream_options": {"include_usage":true} }"#),
        ),
        (
            r#"{"stream_options":{"include_obfuscation":false},"stream":true}"#,
            Some(r#"{"stream_options":{"include_usage":true,"include_obfuscation":false},"stream":true}"#),
        ),
        (
            r#"{"stream":true,"stream_options":{"include_usage":false}}"#,
            Some(r#"{"stream":true,"stream_options":{"include_usage":true}}"#),
        ),
        (
            r#"{"stream":true,"stream_options":{"include_usage":null,"x":1}}"#,
            Some(r#"{"stream":true,"stream_options":{"include_usage":true,"x":1}}"#),
        ),
        (r#"{"stream":true,"stream_options":{"include_usage":true}}"#, None),
        (r#"{"stream":false}"#, None),
        (r#"{"messages":[{"stream":true}]}"#, None),
    ] {
        let asked = ask_usage(body.as_bytes())
            .unwrap()
            .map(|b| String::from_utf8(b).unwrap());
        assert_eq!(asked.as_deref(), expected, "{body}");
    }
    for body in [
        r#"{"stream":true,"stream_options":{},"stream_options":{}}"#,
        r#"{"stream":true,"stream_options":null,"stream_options":{}}"#,
        r#"{"stream":true,"stream_options":{"include_usage":false,"include_usage":false}}"#,
        r#"{"stream":true,"stream_options":{"include_usage":"yes"}}"#,
        r#"{"stream":true,"stream_options":[]}"#,
        r#"{"stream":true"#,
    ] {
        assert!(ask_usage(body.as_bytes()).is_err(), "{body}");
    }
    let asked = ask_usage(CHAT.as_bytes()).unwrap().unwrap();
    let request = Request::read(Api::OpenaiChat, "/", &asked).unwrap();
    assert!(request.tells_usage && request.stream);
}
