//! An MCP server over streamable HTTP: tools, and a tool that asks the client something in the midst of its work.
use super::serve::{Answer, Body, Call, json, set};
use bytes::Bytes;
use http::{Method, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json as object};
use std::time::Duration;
use tokio::sync::oneshot;

const PROTOCOL: &str = "2025-06-18";

pub(crate) async fn answer(mut call: Call) -> Answer {
    match *call.request.method() {
        Method::POST => {}
        Method::DELETE => return json(StatusCode::OK, &object!({})),
        _ => return json(StatusCode::METHOD_NOT_ALLOWED, &object!({"error": "POST only"})),
    }
    let body = call.body().await;
    let message: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let (id, method) = (message["id"].clone(), message["method"].as_str());
    let Some(method) = method else {
        let waiting = call
            .shared
            .asked
            .lock()
            .unwrap()
            .remove(id.as_str().unwrap_or_default());
        if let Some(waiting) = waiting {
            let _ = waiting.send(message);
        }
        return accepted();
    };
    call.entry.note(format!("method {method}"));
    if id.is_null() {
        return accepted();
    }
    let result = match method {
        "initialize" => object!({"protocolVersion": PROTOCOL, "capabilities": {"tools": {}},
            "serverInfo": {"name": "scripted", "version": "1"}}),
        "ping" => object!({}),
        "tools/list" => {
            let tool =
                |name| object!({"name": name, "description": "A tool.", "inputSchema": {"type": "object"}});
            let tools = ["search", "read_file", "ask", "drop_all"].map(tool).to_vec();
            object!({"tools": tools})
        }
        "tools/call" => {
            let name = message["params"]["name"].as_str().unwrap_or_default();
            call.entry.note(format!("tool {name}"));
            if name == "ask" {
                return ask(&call, id);
            }
            object!({"content": [{"type": "text", "text": format!("{name} was called")}], "isError": false})
        }
        _ => {
            let error = object!({"code": -32601, "message": "no such method"});
            return json(
                StatusCode::OK,
                &object!({"jsonrpc": "2.0", "id": id, "error": error}),
            );
        }
    };
    let mut response = json(
        StatusCode::OK,
        &object!({"jsonrpc": "2.0", "id": id, "result": result}),
    );
    if method == "initialize" {
        set(&mut response, "mcp-session-id", &call.case.replace('/', "-"));
    }
    response
}

fn accepted() -> Answer {
    let mut response = Response::new(super::serve::full(""));
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

/// A stream: a notification, a request to the client, and the result when the client has answered.
fn ask(call: &Call, id: Value) -> Answer {
    let (tell, told) = oneshot::channel();
    let asked = format!("ask-{}", call.case);
    call.shared.asked.lock().unwrap().insert(asked.clone(), tell);
    let (mut sender, body) = http_body_util::channel::Channel::<Bytes, std::io::Error>::new(1);
    let entry = call.entry.clone();
    tokio::spawn(async move {
        let event = |value: Value| Bytes::from(format!("event: message\ndata: {value}\n\n"));
        let params = object!({"level": "info", "data": "working"});
        let notice = object!({"jsonrpc": "2.0", "method": "notifications/message", "params": params});
        let _ = sender.send_data(event(notice)).await;
        let words = object!([{"role": "user", "content": {"type": "text", "text": "what?"}}]);
        let request = object!({"jsonrpc": "2.0", "id": asked, "method": "sampling/createMessage",
            "params": {"messages": words, "maxTokens": 10}});
        let _ = sender.send_data(event(request)).await;
        let heard = match tokio::time::timeout(Duration::from_secs(5), told).await {
            Ok(Ok(reply)) if reply["result"].is_object() => {
                entry.note("client answered");
                reply["result"]["content"]["text"]
                    .as_str()
                    .unwrap_or("?")
                    .to_owned()
            }
            _ => "nothing".to_owned(),
        };
        let content = object!([{"type": "text", "text": format!("heard {heard}")}]);
        let result = object!({"jsonrpc": "2.0", "id": id, "result": {"content": content, "isError": false}});
        let _ = sender.send_data(event(result)).await;
    });
    let body: Body = body.boxed();
    let mut response = Response::new(body);
    set(&mut response, "content-type", "text/event-stream");
    response
}
