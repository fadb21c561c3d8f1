//! Anthropic's messages.
use super::Turn;
use serde_json::{Value, json};

/// The text of a content field, which is a string or a list of blocks.
pub fn text(content: &Value) -> String {
    match content {
        Value::String(s) => s.clone(),
        Value::Array(blocks) => blocks.iter().filter_map(|b| b["text"].as_str()).collect(),
        _ => String::new(),
    }
}

pub fn tool_results(body: &Value) -> Vec<String> {
    let messages = body["messages"].as_array().map_or(&[][..], Vec::as_slice);
    let blocks = messages.iter().filter_map(|m| m["content"].as_array()).flatten();
    blocks
        .filter(|b| b["type"] == "tool_result")
        .map(|b| text(&b["content"]))
        .collect()
}

fn usage() -> Value {
    json!({ "input_tokens": 100, "output_tokens": 20 })
}

fn blocks(done: usize, say: &str, turn: &Turn) -> (Vec<Value>, &'static str) {
    match turn {
        Turn::Say(text) => (
            vec![json!({ "type": "text", "text": format!("{text} {say}") })],
            "end_turn",
        ),
        Turn::Call { tool, args } => {
            let call =
                json!({ "type": "tool_use", "id": format!("toolu_{done}"), "name": tool, "input": args });
            (vec![json!({ "type": "text", "text": say }), call], "tool_use")
        }
    }
}

/// A whole answer.
pub fn whole(model: &str, done: usize, say: &str, turn: &Turn) -> Value {
    let (content, stop) = blocks(done, say, turn);
    json!({
        "id": format!("msg_{done}"), "type": "message", "role": "assistant", "model": model, "content": content,
        "stop_reason": stop, "stop_sequence": null, "usage": usage(),
    })
}

/// The same answer as events.
pub fn events(model: &str, done: usize, say: &str, turn: &Turn) -> Vec<String> {
    let (content, stop) = blocks(done, say, turn);
    let mut message = whole(model, done, say, turn);
    message["content"] = json!([]);
    message["stop_reason"] = Value::Null;
    let mut all = vec![json!({ "type": "message_start", "message": message })];
    for (index, block) in content.iter().enumerate() {
        let (empty, delta) = if block["type"] == "text" {
            (
                json!({ "type": "text", "text": "" }),
                json!({ "type": "text_delta", "text": block["text"] }),
            )
        } else {
            let mut empty = block.clone();
            empty["input"] = json!({});
            let partial = block["input"].to_string();
            (
                empty,
                json!({ "type": "input_json_delta", "partial_json": partial }),
            )
        };
        all.push(json!({ "type": "content_block_start", "index": index, "content_block": empty }));
        all.push(json!({ "type": "content_block_delta", "index": index, "delta": delta }));
        all.push(json!({ "type": "content_block_stop", "index": index }));
    }
    let delta = json!({ "stop_reason": stop, "stop_sequence": null });
    all.push(json!({ "type": "message_delta", "delta": delta, "usage": usage() }));
    all.push(json!({ "type": "message_stop" }));
    all.iter()
        .map(|e| format!("event: {}\ndata: {e}\n\n", e["type"].as_str().unwrap_or_default()))
        .collect()
}
