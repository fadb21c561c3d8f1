//! The fuzzer's ways in.
use crate::prices::Worst;
use crate::{Api, Circumstances, Keep, Outcome, Prices, Reader, Request, Step, ask_usage, otlp};
use std::sync::OnceLock;

/// All APIs.
const APIS: [Api; 5] = [
    Api::OpenaiChat,
    Api::OpenaiResponses,
    Api::OpenaiEmbeddings,
    Api::AnthropicMessages,
    Api::Gemini,
];

fn api(byte: u8) -> Api {
    let nth = usize::from(byte) % APIS.len();
    APIS.get(nth).copied().unwrap_or(Api::OpenaiChat)
}

/// Any body is read or refused; one that is read and asks for its usage asks for nothing else than before.
#[doc(hidden)]
pub fn fuzz_request(data: &[u8]) {
    let Some((&first, body)) = data.split_first() else {
        return;
    };
    let api = api(first);
    let path = "/v1beta/models/gemini-2.5-pro:generateContent";
    let read = Request::read(api, path, body);
    let asked = ask_usage(body);
    if api != Api::OpenaiChat {
        return;
    }
    if let (Ok(request), Ok(Some(asked))) = (&read, &asked) {
        let again = Request::read(api, path, asked);
        let same = |again: &Request| {
            let rest = |r: &Request| Request {
                body_bytes: 0,
                extra_output: 0,
                tells_usage: true,
                ..r.clone()
            };
            again.tells_usage && rest(again) == rest(request)
        };
        assert!(again.as_ref().is_ok_and(same), "{request:?} became {again:?}");
    }
}

/// Any response is read, cut anywhere, to the same outcome; its step is settled, stored and told.
#[doc(hidden)]
pub fn fuzz_response(data: &[u8]) {
    let Some((&[first, cut], body)) = data.split_first_chunk::<2>() else {
        return;
    };
    let api = api(first);
    let keep = match first / 5 % 3 {
        0 => Keep::Nothing,
        1 => Keep::Hash,
        _ => Keep::Text(64),
    };
    let status = if first < 200 { 200 } else { 503 };
    let read = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut reader = Reader::new(api, status, keep);
        pieces.for_each(|piece| reader.push(piece));
        reader.finish()
    };
    let outcome = read(&mut std::iter::once(body));
    let pieces = read(&mut body.chunks(usize::from(cut).max(1)));
    assert_eq!(outcome, pieces);
    told(api, status, &outcome);
}

fn told(api: Api, status: u16, outcome: &Outcome) {
    let body = br#"{"model":"gpt-5","max_tokens":9,"max_output_tokens":9}"#;
    let path = "/v1beta/models/gpt-5:generateContent";
    static PRICES: OnceLock<Prices> = OnceLock::new();
    let prices = PRICES.get_or_init(|| Prices::embedded().unwrap_or(Prices::none()));
    let Ok(request) = Request::read(api, path, body) else {
        return;
    };
    let worst = prices.worst(&request).unwrap_or(Worst {
        input: 0,
        output: 0,
        hosted_calls: 0,
    });
    let settled = prices.settle(&request, &worst, outcome);
    if !outcome.exact && !outcome.free {
        assert!(settled.usage.input >= worst.input && settled.usage.output >= worst.output);
        assert!(settled.cost >= prices.worst_cost(&request, &worst).ok());
    }
    let call = Circumstances {
        at_ms: u64::MAX,
        host: "api.openai.com",
        port: 443,
        status,
        latency_ms: u64::MAX,
        first_token_ms: Some(1),
    };
    let step = Step::new(&call, &request, outcome, &settled, &|text| text.reverse());
    let ids = otlp::Ids {
        trace: [1; 16],
        span: [2; 8],
        parent: None,
    };
    let text = serde_json::to_string(&step).unwrap_or_default();
    let again = serde_json::from_str::<Step>(&text);
    assert!(
        again.as_ref().is_ok_and(|again| *again == step),
        "{text}: {again:?}"
    );
    let _ = otlp::export(vec![otlp::span(&step, &ids)], &[]);
}
