//! What is reserved before a call is never less than what a conforming server can ask for it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside a test function"
)]
mod common;
use common::*;
use proptest::prelude::*;
use qila_meter::prices::{Settled, Worst};
use qila_meter::{
    ADDED, Api, Circumstances, Keep, MicroUsd, Outcome, Prices, Request, Step, Stored, Usage, otlp,
};
use serde_json::{Value, json};

const MODELS: &[(Api, &str)] = &[
    (Api::OpenaiChat, "gpt-5"),
    (Api::OpenaiChat, "gpt-5.5"),
    (Api::OpenaiResponses, "gpt-6-sol"),
    (Api::AnthropicMessages, "claude-sonnet-4-5"),
    (Api::AnthropicMessages, "claude-haiku-5-5"),
    (Api::Gemini, "gemini-2.5-pro"),
    (Api::Gemini, "gemini-2.5-flash"),
    (Api::OpenaiEmbeddings, "text-embedding-3-small"),
];

#[derive(Debug, Clone)]
struct Call {
    api: Api,
    model: &'static str,
    text: String,
    image: bool,
    limit: Option<u64>,
    answers: u64,
    long_cache: bool,
    tier: bool,
}

fn call() -> impl Strategy<Value = Call> {
    (
        0..MODELS.len(),
        "\\PC{0,40}",
        0usize..40_000,
        any::<[bool; 4]>(),
        1u64..5000,
        1u64..4,
    )
        .prop_map(
            |(nth, text, times, [image, limited, long_cache, tier], limit, answers)| Call {
                api: MODELS[nth].0,
                model: MODELS[nth].1,
                text: if times > 39_000 { text.repeat(times) } else { text },
                image: image && MODELS[nth].0 != Api::OpenaiEmbeddings,
                limit: limited.then_some(limit),
                answers,
                long_cache: long_cache && MODELS[nth].0 == Api::AnthropicMessages,
                tier: tier && MODELS[nth].1 == "gpt-5",
            },
        )
}

impl Call {
    fn request(&self) -> Request {
        let (text, image) = (&self.text, self.image);
        let mut body = json!({"model": self.model});
        match self.api {
            Api::OpenaiChat => {
                let mut parts = vec![json!({"type": "text", "text": text})];
                parts.extend(image.then(|| json!({"type": "image_url", "image_url": {"url": "x"}})));
                body["messages"] = json!([{"role": "user", "content": parts}]);
                body["n"] = self.answers.into();
            }
            Api::OpenaiResponses => {
                let mut parts = vec![json!({"type": "input_text", "text": text})];
                parts.extend(image.then(|| json!({"type": "input_image", "image_url": "x"})));
                body["input"] = json!([{"role": "user", "content": parts}]);
            }
            Api::AnthropicMessages => {
                let mut block = json!({"type": "text", "text": text});
                if self.long_cache {
                    block["cache_control"] = json!({"type": "ephemeral", "ttl": "1h"});
                }
                let mut parts = vec![block];
                parts.extend(image.then(|| json!({"type": "image", "source": {}})));
                body["messages"] = json!([{"role": "user", "content": parts}]);
            }
            Api::Gemini => {
                let mut parts = vec![json!({"text": text})];
                parts.extend(image.then(|| json!({"inlineData": {"mimeType": "audio/wav"}})));
                body["contents"] = json!([{"parts": parts}]);
                body["generationConfig"] = json!({"candidateCount": self.answers});
            }
            _ => body["input"] = json!([text]),
        }
        if let Some(limit) = self.limit {
            match self.api {
                Api::OpenaiChat => body["max_completion_tokens"] = limit.into(),
                Api::OpenaiResponses => body["max_output_tokens"] = limit.into(),
                Api::AnthropicMessages => body["max_tokens"] = limit.into(),
                Api::Gemini => body["generationConfig"]["maxOutputTokens"] = limit.into(),
                _ => {}
            }
        }
        if self.tier {
            body["service_tier"] = "priority".into();
        }
        let path = format!("/v1beta/models/{}:generateContent", self.model);
        Request::read(self.api, &path, body.to_string().as_bytes()).unwrap()
    }

    /// Most tokens that a conforming server counts: what it was sent as text, what it adds, its window, its limits.
    fn most(&self, context: u64, max_output: u64) -> (u64, u64) {
        let text = self.text.len() as u64 + ADDED;
        let input = if self.image { context } else { text.min(context) };
        let answers = if matches!(self.api, Api::OpenaiChat | Api::Gemini) {
            self.answers
        } else {
            1
        };
        let output = self.limit.unwrap_or(max_output) * answers;
        (
            input,
            if self.api == Api::OpenaiEmbeddings {
                0
            } else {
                output
            },
        )
    }
}

/// A response of a server that used so much, split into kinds at random.
fn response(call: &Call, input: u64, output: u64, split: [u64; 4]) -> Value {
    let share = |n: u64, part: u64| n * part / 100;
    let cached = share(input, split[0]);
    let written = share(input - cached, split[1]);
    let hour = if call.long_cache {
        share(written, split[2])
    } else {
        0
    };
    let reasoning = share(output, split[3]);
    match call.api {
        Api::OpenaiChat => json!({"choices": [], "model": call.model, "usage": {
            "prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output,
            "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
            "completion_tokens_details": {"reasoning_tokens": reasoning}}}),
        Api::OpenaiResponses => json!({"status": "completed", "model": call.model, "output": [], "usage": {
            "input_tokens": input, "output_tokens": output, "total_tokens": input + output,
            "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
            "output_tokens_details": {"reasoning_tokens": reasoning}}}),
        Api::AnthropicMessages => {
            json!({"type": "message", "model": call.model, "content": [], "stop_reason": "end_turn", "usage": {
            "input_tokens": input - cached - written, "cache_read_input_tokens": cached, "cache_creation_input_tokens": written,
            "cache_creation": {"ephemeral_1h_input_tokens": hour, "ephemeral_5m_input_tokens": written - hour},
            "output_tokens": output}})
        }
        Api::Gemini => {
            let audio = if call.image {
                share(input - cached, split[2])
            } else {
                0
            };
            json!({"candidates": [{"finishReason": "STOP"}], "modelVersion": call.model, "usageMetadata": {
            "promptTokenCount": input, "cachedContentTokenCount": cached,
            "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": audio}],
            "candidatesTokenCount": output - reasoning, "thoughtsTokenCount": reasoning, "totalTokenCount": input + output}})
        }
        _ => {
            json!({"object": "list", "data": [], "model": call.model, "usage": {"prompt_tokens": input, "total_tokens": input}})
        }
    }
}

/// A part in hundredths, often none or all of it.
fn share() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0u64), Just(100), 0u64..=100]
}

proptest! {
    #[test]
    fn the_worst_case_is_no_less_than_any_use(
        call in call(),
        used in [share(), share()],
        split in [share(), share(), share(), share()],
    ) {
        let prices = Prices::embedded().unwrap();
        let request = call.request();
        let price = prices.find(call.model).unwrap();
        let worst = prices.worst(&request).unwrap();
        let reserved = prices.worst_cost(&request, &worst).unwrap();
        let (most_input, most_output) = call.most(price.context.unwrap(), price.max_output.unwrap_or(0));
        let (input, output) = (most_input * used[0] / 100, most_output * used[1] / 100);
        let body = response(&call, input, output, split).to_string();
        let outcome = read(call.api, 200, Keep::Hash, &[body.as_bytes()]);
        prop_assert!(outcome.exact, "{}", body);
        let settled = prices.settle(&request, &worst, &outcome);
        prop_assert!(settled.exact);
        prop_assert_eq!((settled.usage.input, settled.usage.output), (input, output));
        prop_assert!(settled.usage.tokens() <= worst.tokens(), "{:?} {:?}", settled.usage, worst);
        prop_assert!(settled.usage.input <= worst.input && settled.usage.output <= worst.output);
        prop_assert!(settled.cost.unwrap() <= reserved, "{:?} {:?} {:?}", settled, reserved, body);
        // What is cut off is settled at no less than what was reserved.
        let cut = read(call.api, 200, Keep::Hash, &[&body.as_bytes()[..body.len() - 1]]);
        let settled = prices.settle(&request, &worst, &cut);
        prop_assert!(!settled.exact && settled.usage.tokens() >= worst.tokens() && settled.cost.unwrap() >= reserved);
    }

    #[test]
    fn more_of_anything_costs_no_less(nth in 0..MODELS.len(), input in 0u64..2_000_000, cached in 0u64..100, output in 0u64..200_000, more in [0u64..1000, 0u64..1000]) {
        let prices = Prices::embedded().unwrap();
        let cost = |usage: Usage| prices.cost(MODELS[nth].1, &usage, &[]).unwrap();
        let usage = Usage { input, cached_input: input * cached / 100, output, ..Usage::default() };
        let larger = Usage { input: input + more[0], output: output + more[1], ..usage };
        prop_assert!(cost(larger) >= cost(usage));
        let new = Usage { cached_input: 0, ..usage };
        prop_assert!(cost(new) >= cost(usage));
    }
}

fn settle(body: &str, outcome: &Outcome) -> (Worst, Settled) {
    let prices = Prices::embedded().unwrap();
    let request = Request::read(Api::AnthropicMessages, "/v1/messages", body.as_bytes()).unwrap();
    let worst = prices.worst(&request).unwrap();
    let settled = prices.settle(&request, &worst, outcome);
    (worst, settled)
}

#[test]
fn settling_takes_the_dearer_where_it_was_not_told() {
    let told = |usage: &str| {
        read_text(
            Api::AnthropicMessages,
            &format!(r#"{{"model":"claude-sonnet-4-6","usage":{usage}}}"#),
        )
    };
    let hour =
        r#"{"model":"claude-sonnet-4-6","max_tokens":5,"cache_control":{"type":"ephemeral","ttl":"1h"}}"#;
    let five = r#"{"model":"claude-sonnet-4-6","max_tokens":5}"#;
    let written = told(r#"{"input_tokens":0,"cache_creation_input_tokens":1000,"output_tokens":0}"#);
    assert_eq!(settle(five, &written).1.cost, Some(MicroUsd(3750)));
    assert_eq!(
        settle(hour, &written).1.cost,
        Some(MicroUsd(6000)),
        "for how long was not told"
    );
    let both = told(
        r#"{"input_tokens":0,"cache_creation_input_tokens":1000,"cache_creation":{"ephemeral_5m_input_tokens":1000,"ephemeral_1h_input_tokens":0},"output_tokens":0}"#,
    );
    assert_eq!(settle(hour, &both).1.cost, Some(MicroUsd(3750)));
    // Another model answered than was asked for.
    let other = read_text(
        Api::AnthropicMessages,
        r#"{"model":"claude-opus-5","usage":{"input_tokens":1000,"output_tokens":0}}"#,
    );
    assert_eq!(settle(five, &other).1.cost, Some(MicroUsd(5000)));
    let unheard = read_text(
        Api::AnthropicMessages,
        r#"{"model":"claude-unheard","usage":{"input_tokens":1000,"output_tokens":0}}"#,
    );
    assert_eq!(settle(five, &unheard).1.cost, Some(MicroUsd(3000)));
    // Refused: nothing. Cut off: everything, and more where more was told.
    let refused = read(
        Api::AnthropicMessages,
        529,
        Keep::Hash,
        &[br#"{"type":"error","error":{"type":"overloaded_error"}}"#],
    );
    let (_, settled) = settle(five, &refused);
    assert_eq!(
        (settled.cost, settled.exact, settled.usage),
        (Some(MicroUsd(0)), true, Usage::default())
    );
    let (worst, settled) = settle(
        five,
        &read(
            Api::AnthropicMessages,
            200,
            Keep::Hash,
            &[b"data: {\"type\":\"ping\"}\n\n"],
        ),
    );
    assert_eq!((settled.usage.tokens(), settled.exact), (worst.tokens(), false));
    let cut = read(Api::AnthropicMessages, 200, Keep::Hash, &[b"data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":900000,\"output_tokens\":1}}}\n\n"]);
    let (_, settled) = settle(five, &cut);
    assert!(
        settled.usage.input == 900_000
            && settled.usage.output == 5
            && settled.cost.unwrap() >= MicroUsd(2_700_000)
    );
}

#[test]
fn one_answer_of_several_is_not_the_end() {
    let prices = Prices::embedded().unwrap();
    let body = br#"{"generationConfig":{"maxOutputTokens":1000,"candidateCount":2}}"#;
    let request = Request::read(
        Api::Gemini,
        "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse",
        body,
    )
    .unwrap();
    let worst = prices.worst(&request).unwrap();
    let first = "data: {\"candidates\":[{\"index\":0,\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":5,\"totalTokenCount\":9}}\n\n";
    let settled = prices.settle(&request, &worst, &read_text(Api::Gemini, first));
    assert_eq!((settled.exact, settled.usage.output), (false, 2000));
    let both = format!(
        "{first}{}",
        first.replace("\"index\":0", "\"index\":1").replace('9', "12")
    );
    let settled = prices.settle(&request, &worst, &read_text(Api::Gemini, &both));
    assert_eq!((settled.exact, settled.usage.output), (true, 7));
}

fn step(keep: Keep) -> Step {
    let (api, bytes) = transcript("anthropic.sse");
    let body = br#"{"model":"claude-sonnet-4-6","max_tokens":1024,"stream":true}"#;
    let request = Request::read(api, "/v1/messages", body).unwrap();
    let prices = Prices::embedded().unwrap();
    let worst = prices.worst(&request).unwrap();
    let outcome = read(api, 200, keep, &[bytes]);
    let settled = prices.settle(&request, &worst, &outcome);
    let call = Circumstances {
        at_ms: 1_700_000_000_123,
        host: "api.anthropic.com",
        port: 443,
        status: 200,
        latency_ms: 2500,
        first_token_ms: Some(320),
    };
    let redact = |text: &mut Vec<u8>| {
        let masked = String::from_utf8_lossy(text).replace("San Francisco", "*");
        *text = masked.into_bytes();
    };
    Step::new(&call, &request, &outcome, &settled, &redact)
}

#[test]
fn a_step_keeps_what_it_may() {
    let kept = step(Keep::Text(1000));
    let text = serde_json::to_string(&kept).unwrap();
    assert!(
        text.contains("I'll check the weather.") && text.contains("*, CA") && !text.contains("San Francisco"),
        "{text}"
    );
    assert_eq!(
        kept.cost_micro_usd,
        Some(MicroUsd(150 + 1200 + 3750 + 1200 + 1335))
    );
    let hashed = step(Keep::Hash);
    let text = serde_json::to_string(&hashed).unwrap();
    assert!(!text.contains("weather.") && !text.contains("CA"), "{text}");
    assert!(
        matches!(
            hashed.tool_calls().next(),
            Some(("get_weather", Some(Stored::Hashed { bytes: 64, .. })))
        ),
        "{text}"
    );
    let nothing = step(Keep::Nothing);
    assert!(matches!(nothing.tool_calls().next(), Some(("get_weather", None))));
    for step in [kept, hashed, nothing] {
        let again: Step = serde_json::from_str(&serde_json::to_string(&step).unwrap()).unwrap();
        assert_eq!(again, step);
    }
}

#[test]
fn a_step_is_a_span_of_the_conventions() {
    let ids = otlp::Ids {
        trace: [0xab; 16],
        span: [0x01; 8],
        parent: Some([0x02; 8]),
    };
    let span = otlp::span(&step(Keep::Text(1000)), &ids);
    assert_eq!(span["traceId"], "ab".repeat(16));
    assert_eq!(
        (&span["spanId"], &span["parentSpanId"]),
        (&json!("01".repeat(8)), &json!("02".repeat(8)))
    );
    assert_eq!(
        (&span["name"], &span["kind"]),
        (&json!("chat claude-sonnet-4-6"), &json!(3))
    );
    assert_eq!(span["startTimeUnixNano"], "1700000000123000000");
    assert_eq!(span["endTimeUnixNano"], "1700000002623000000");
    let value = |key: &str| {
        let list = span["attributes"].as_array().unwrap();
        list.iter()
            .find(|a| a["key"] == key)
            .map(|a| a["value"].clone())
            .unwrap_or_default()
    };
    for (key, expected) in [
        ("gen_ai.operation.name", json!({"stringValue": "chat"})),
        ("gen_ai.provider.name", json!({"stringValue": "anthropic"})),
        (
            "gen_ai.request.model",
            json!({"stringValue": "claude-sonnet-4-6"}),
        ),
        ("gen_ai.request.stream", json!({"boolValue": true})),
        ("gen_ai.request.max_tokens", json!({"intValue": "1024"})),
        (
            "gen_ai.response.id",
            json!({"stringValue": "msg_01XFDUDYJgAACzvnptvVoYEL"}),
        ),
        (
            "gen_ai.response.finish_reasons",
            json!({"arrayValue": {"values": [{"stringValue": "tool_use"}]}}),
        ),
        (
            "gen_ai.response.time_to_first_chunk",
            json!({"doubleValue": 0.32}),
        ),
        ("gen_ai.usage.input_tokens", json!({"intValue": "5250"})),
        ("gen_ai.usage.output_tokens", json!({"intValue": "89"})),
        (
            "gen_ai.usage.cache_read.input_tokens",
            json!({"intValue": "4000"}),
        ),
        (
            "gen_ai.usage.cache_creation.input_tokens",
            json!({"intValue": "1200"}),
        ),
        ("gen_ai.usage.reasoning.output_tokens", json!({"intValue": "30"})),
        ("qila.cost.micro_usd", json!({"intValue": "7635"})),
        ("server.port", json!({"intValue": "443"})),
        ("error.type", Value::Null),
        ("qila.usage.worst_case", Value::Null),
    ] {
        assert_eq!(value(key), expected, "{key}");
    }
    let messages: Value =
        serde_json::from_str(value("gen_ai.output.messages")["stringValue"].as_str().unwrap()).unwrap();
    assert_eq!(messages[0]["parts"][2]["arguments"]["location"], "*, CA");
    assert_eq!(
        messages[0]["parts"][1],
        json!({"type": "text", "content": "I'll check the weather."})
    );
    let hashed = otlp::span(&step(Keep::Hash), &ids).to_string();
    assert!(!hashed.contains("gen_ai.output.messages"), "{hashed}");
    let body = otlp::export(vec![span], &[("service.name", "qila")]);
    assert_eq!(body["resourceSpans"][0]["schemaUrl"], otlp::SCHEMA_URL);
    let mut failed = step(Keep::Hash);
    failed.status = 500;
    let failed = otlp::span(&failed, &ids);
    assert_eq!(failed["status"]["code"], 2);
    assert!(
        failed
            .to_string()
            .contains(r#"{"key":"error.type","value":{"stringValue":"500"}}"#)
    );
}
