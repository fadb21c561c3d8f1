//! The APIs of model providers: OpenAI's chat completions and responses, Anthropic's messages; whole, streamed, with
//! tools. They insist on the real key and remember what they said was used.
use super::serve::{Answer, Call, full, json, set};
use http::{Response, StatusCode};
use serde_json::{Value, json as object};

/// What one answer said was used, in tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// The case it belongs to.
    pub case: String,
    /// The model, as it was asked for.
    pub model: String,
    /// Of the prompt, cached ones included.
    pub input: u64,
    /// Of the prompt, from the provider's cache.
    pub cached: u64,
    /// Of the answer.
    pub output: u64,
}

/// Answers of one kind, whole and as events.
struct Said {
    whole: Value,
    events: Vec<(Option<&'static str>, Value)>,
    done: bool,
}

pub(crate) async fn answer(mut call: Call) -> Answer {
    let body = call.body().await;
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let key = call.shared.key(&call.host).to_owned();
    let field = |name: &str| {
        let value = call.request.headers().get(name);
        value.and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
    };
    let real =
        !key.is_empty() && (field("authorization") == format!("Bearer {key}") || field("x-api-key") == key);
    if !real {
        call.entry.note("wrong key");
        let error =
            object!({"type": "error", "error": {"type": "authentication_error", "message": "wrong key"}});
        return json(StatusCode::UNAUTHORIZED, &error);
    }
    call.entry.note("real key");
    let mut all = call.shared.usage.lock().unwrap();
    let turn = all.len() as u64;
    let usage = Usage {
        case: call.case.clone(),
        model: body["model"].as_str().unwrap_or_default().to_owned(),
        input: 120 + 7 * turn,
        cached: if turn % 3 == 1 { 40 + turn } else { 0 },
        output: 15 + 3 * turn,
    };
    all.push(usage.clone());
    drop(all);
    let words = format!("You sent {key} and I repeat it.");
    let tools = body["tools"].as_array().is_some_and(|t| !t.is_empty());
    let said = match call.path.as_str() {
        "/v1/chat/completions" => chat(&usage, &words, tools),
        "/v1/responses" => responses(&usage, &words, tools),
        "/v1/messages" => messages(&usage, &words, tools),
        _ => {
            return json(
                StatusCode::NOT_FOUND,
                &object!({"error": {"message": "no such path"}}),
            );
        }
    };
    if body["stream"] != true {
        return json(StatusCode::OK, &said.whole);
    }
    let mut text = String::new();
    for (name, event) in &said.events {
        if let Some(name) = name {
            text.push_str(&format!("event: {name}\n"));
        }
        text.push_str(&format!("data: {event}\n\n"));
    }
    if said.done {
        text.push_str("data: [DONE]\n\n");
    }
    let mut response = Response::new(full(text));
    set(&mut response, "content-type", "text/event-stream");
    response
}

fn chat(usage: &Usage, words: &str, tools: bool) -> Said {
    let used = object!({"prompt_tokens": usage.input, "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output, "prompt_tokens_details": {"cached_tokens": usage.cached}});
    let call = object!([{"index": 0, "id": "call_1", "type": "function",
        "function": {"name": "lookup", "arguments": "{\"word\":\"fort\"}"}}]);
    let mut message = object!({"role": "assistant", "content": words});
    if tools {
        message["tool_calls"] = call.clone();
    }
    let finish = if tools { "tool_calls" } else { "stop" };
    let piece = |delta: Value, finish: Value| {
        object!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": usage.model,
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], "usage": null})
    };
    let mut events = vec![(
        None,
        piece(object!({"role": "assistant", "content": ""}), Value::Null),
    )];
    for word in words.split_inclusive(' ') {
        events.push((None, piece(object!({"content": word}), Value::Null)));
    }
    if tools {
        events.push((None, piece(object!({"tool_calls": call}), Value::Null)));
    }
    events.push((None, piece(object!({}), finish.into())));
    events.push((
        None,
        object!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": usage.model,
            "choices": [], "usage": used}),
    ));
    Said {
        whole: object!({"id": "chatcmpl-1", "object": "chat.completion", "created": 1_700_000_000, "model": usage.model,
            "choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": used}),
        events,
        done: true,
    }
}

fn responses(usage: &Usage, words: &str, tools: bool) -> Said {
    let used = object!({"input_tokens": usage.input, "output_tokens": usage.output,
        "total_tokens": usage.input + usage.output, "input_tokens_details": {"cached_tokens": usage.cached},
        "output_tokens_details": {"reasoning_tokens": 0}});
    let part = object!({"type": "output_text", "text": words, "annotations": []});
    let mut output = vec![
        object!({"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
        "content": [part]}),
    ];
    if tools {
        output.push(
            object!({"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "lookup",
            "arguments": "{\"word\":\"fort\"}", "status": "completed"}),
        );
    }
    let whole = object!({"id": "resp_1", "object": "response", "created_at": 1_700_000_000, "status": "completed",
        "model": usage.model, "output": output, "parallel_tool_calls": true, "tool_choice": "auto", "tools": [],
        "usage": used});
    let mut begun = whole.clone();
    begun["status"] = "in_progress".into();
    begun["output"] = object!([]);
    begun["usage"] = Value::Null;
    let mut number = 0;
    let mut events = Vec::new();
    let mut add = |name: &'static str, mut value: Value| {
        value["type"] = name.into();
        value["sequence_number"] = number.into();
        number += 1;
        events.push((Some(name), value));
    };
    add("response.created", object!({"response": begun}));
    for (index, item) in output.iter().enumerate() {
        add(
            "response.output_item.added",
            object!({"output_index": index, "item": item}),
        );
        if item["type"] == "message" {
            for word in words.split_inclusive(' ') {
                add(
                    "response.output_text.delta",
                    object!({"item_id": "msg_1", "output_index": index, "content_index": 0, "delta": word, "logprobs": []}),
                );
            }
        }
        add(
            "response.output_item.done",
            object!({"output_index": index, "item": item}),
        );
    }
    add("response.completed", object!({"response": whole}));
    Said {
        whole,
        events,
        done: false,
    }
}

fn messages(usage: &Usage, words: &str, tools: bool) -> Said {
    // Anthropic counts cached tokens beside the others.
    let used = object!({"input_tokens": usage.input - usage.cached, "cache_read_input_tokens": usage.cached,
        "cache_creation_input_tokens": 0, "output_tokens": usage.output});
    let mut content = vec![object!({"type": "text", "text": words})];
    if tools {
        content.push(
            object!({"type": "tool_use", "id": "toolu_1", "name": "lookup", "input": {"word": "fort"}}),
        );
    }
    let stop = if tools { "tool_use" } else { "end_turn" };
    let whole = object!({"id": "msg_1", "type": "message", "role": "assistant", "model": usage.model, "content": content,
        "stop_reason": stop, "stop_sequence": null, "usage": used});
    let mut begun = whole.clone();
    begun["content"] = object!([]);
    begun["stop_reason"] = Value::Null;
    begun["usage"]["output_tokens"] = 1.into();
    let mut events = vec![("message_start", object!({"message": begun}))];
    for (index, block) in content.iter().enumerate() {
        let mut empty = block.clone();
        let deltas: Vec<Value> = if block["type"] == "text" {
            empty["text"] = "".into();
            let words = words.split_inclusive(' ');
            words
                .map(|w| object!({"type": "text_delta", "text": w}))
                .collect()
        } else {
            empty["input"] = object!({});
            vec![object!({"type": "input_json_delta", "partial_json": block["input"].to_string()})]
        };
        events.push((
            "content_block_start",
            object!({"index": index, "content_block": empty}),
        ));
        for delta in deltas {
            events.push(("content_block_delta", object!({"index": index, "delta": delta})));
        }
        events.push(("content_block_stop", object!({"index": index})));
    }
    events.push((
        "message_delta",
        object!({"delta": {"stop_reason": stop, "stop_sequence": null}, "usage": {"output_tokens": usage.output}}),
    ));
    events.push(("message_stop", object!({})));
    let events = events
        .into_iter()
        .map(|(name, mut value)| {
            value["type"] = name.into();
            (Some(name), value)
        })
        .collect();
    Said {
        whole,
        events,
        done: false,
    }
}
