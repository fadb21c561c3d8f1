use super::*;
use crate::{Api, MicroUsd, Request, Usage};

fn micro(model: &str, usage: Usage) -> u64 {
    Prices::embedded().unwrap().cost(model, &usage, &[]).unwrap().0
}

#[test]
fn the_embedded_prices_are_sound() {
    let prices = Prices::embedded().unwrap();
    for (model, input) in [
        ("gpt-5", 1_250_000),
        ("gpt-5-2025-08-07", 1_250_000),
        ("gpt-5-mini", 250_000),
        ("GPT-5.5-pro", 30_000_000),
        ("claude-sonnet-4-20250514", 3_000_000),
        ("claude-haiku-4-5-20251001", 1_000_000),
        ("claude-opus-4-1-20250805", 15_000_000),
        ("gemini-2.5-flash-lite", 100_000),
    ] {
        assert_eq!(
            prices.find(model).and_then(|p| p.rates).map(|r| r.input),
            Some(input),
            "{model}"
        );
    }
    // A model that is not listed does not get the price of its neighbour.
    for model in [
        "gpt-5-ultra",
        "gpt-5.9",
        "claude-opus-4-9",
        "gpt-5-2025-08-07-x",
        "",
        "openai/gpt-5",
    ] {
        assert_eq!(prices.find(model), None, "{model}");
    }
}

#[test]
fn costs_are_sums_rounded_up_once() {
    // 1000 new at 1.25, 9000 cached at 0.125, 100 out at 10.
    let usage = Usage {
        input: 10_000,
        cached_input: 9_000,
        output: 100,
        ..Usage::default()
    };
    assert_eq!(micro("gpt-5", usage), 1250 + 1125 + 1000);
    // A fraction of a millionth is a whole one.
    assert_eq!(
        micro(
            "text-embedding-3-small",
            Usage {
                input: 1,
                ..Usage::default()
            }
        ),
        1
    );
    assert_eq!(
        micro(
            "text-embedding-3-small",
            Usage {
                input: 51,
                ..Usage::default()
            }
        ),
        2
    );
    assert_eq!(micro("gpt-5", Usage::default()), 0);
    // Anthropic's cache: 50 new, 1000 written for 5 minutes, 200 for an hour, 4000 read; 10 out.
    let usage = Usage {
        input: 5250,
        cached_input: 4000,
        cache_write: 1000,
        cache_write_long: 200,
        output: 10,
        ..Usage::default()
    };
    assert_eq!(micro("claude-sonnet-4-6", usage), 150 + 1200 + 3750 + 1200 + 150);
    // A long input has other prices, for all of it.
    assert_eq!(
        micro(
            "gemini-2.5-pro",
            Usage {
                input: 200_000,
                output: 10,
                ..Usage::default()
            }
        ),
        250_000 + 100
    );
    assert_eq!(
        micro(
            "gemini-2.5-pro",
            Usage {
                input: 200_001,
                output: 10,
                ..Usage::default()
            }
        ),
        500_003 + 150
    );
    assert_eq!(
        micro(
            "gemini-2.5-flash",
            Usage {
                input: 100,
                audio_input: 40,
                ..Usage::default()
            }
        ),
        18 + 40
    );
    let absurd = Usage {
        input: u64::MAX,
        output: u64::MAX,
        ..Usage::default()
    };
    assert_eq!(micro("gpt-5.5", absurd), u64::MAX);
    let prices = Prices::embedded().unwrap();
    let usage = Usage {
        input: 1000,
        output: 0,
        ..Usage::default()
    };
    assert_eq!(
        prices.cost("gpt-5", &usage, &["service_tier:priority".into()]),
        Some(MicroUsd(2500))
    );
    assert_eq!(
        prices.cost("gpt-5", &usage, &["service_tier:ultrafast".into()]),
        Some(MicroUsd(2500)),
        "the largest that is known"
    );
    assert_eq!(
        prices.cost(
            "claude-opus-5",
            &usage,
            &["inference_geo:us".into(), "speed:fast".into()]
        ),
        Some(MicroUsd(11_000))
    );
    assert_eq!(prices.cost("nobody", &usage, &[]), None);
}

#[test]
fn an_operators_file_decides_first() {
    let own = "version: 1\nmodels:\n  - {names: ['gpt-*'], input: 1, output: 2}\n  - {names: ['gpt-5*'], input: 3, output: 4}\n  - {names: [local/*], context: 8192, max_output: 1024}\n";
    let prices = Prices::embedded().unwrap().with(own).unwrap();
    let input = |m: &str| prices.find(m).and_then(|p| p.rates).map(|r| r.input);
    assert_eq!(input("gpt-5"), Some(3_000_000));
    assert_eq!(input("gpt-4o"), Some(1_000_000));
    assert_eq!(input("o3"), Some(2_000_000));
    assert_eq!(
        prices.find("local/x").map(|p| (p.rates, p.context)),
        Some((None, Some(8192)))
    );
    assert_eq!(prices.cost("local/x", &Usage::default(), &[]), None);
}

#[test]
fn files_that_are_refused() {
    for (body, wanted) in [
        ("models: []", "missing field"),
        ("version: 2\nmodels: []", "version"),
        ("version: 1\nmodels: []\nprices: 1", "unknown"),
        (
            "version: 1\nmodels:\n  - {names: [a], input: 1, output: 2, ouput: 3}",
            "unknown",
        ),
        ("version: 1\nmodels:\n  - {names: [], input: 1}", "names"),
        ("version: 1\nmodels:\n  - {names: [a], input: -1}", "price"),
        ("version: 1\nmodels:\n  - {names: [a], input: .nan}", "price"),
        ("version: 1\nmodels:\n  - {names: [a], input: 0.0000001}", "price"),
        ("version: 1\nmodels:\n  - {names: [a], input: 1e9}", "price"),
        ("version: 1\nmodels:\n  - {names: [a], output: 1}", "input"),
        ("version: 1\nmodels:\n  - {names: [a], cached_input: 1}", "input"),
        (
            "version: 1\nmodels:\n  - {names: [a, b], input: 1}\n  - {names: [b], input: 2}",
            "twice",
        ),
        (
            "version: 1\nmodels:\n  - {names: [a], input: 1, output: 2, above: {tokens: 5, input: 0.5, output: 2}}",
            "above",
        ),
        (
            "version: 1\nmodels:\n  - {names: [a], input: 1, surcharges: {fast: 2}}",
            "surcharge",
        ),
        (
            "version: 1\nmodels:\n  - {names: [a], input: 1, surcharges: {'speed:fast': 0.5}}",
            "surcharge",
        ),
        (
            "version: 1\nmodels:\n  - {names: [a], input: 1, hosted: {rounds: 0, call: 1}}",
            "rounds",
        ),
        (
            "version: 1\nmodels:\n  - {names: [a], input: 1, context: 0}",
            "limit",
        ),
        (
            "version: 1\nmodels:\n  - {names: [a], input: 1, input: 2}",
            "uplicate",
        ),
        ("[", ""),
    ] {
        let error = Prices::none().with(body).unwrap_err().to_string();
        assert!(error.contains(wanted), "{body}: {error}");
    }
}

fn chat(body: &str) -> Request {
    Request::read(Api::OpenaiChat, "/v1/chat/completions", body.as_bytes()).unwrap()
}

#[test]
fn what_cannot_be_bounded_says_what_to_add() {
    let prices = Prices::embedded().unwrap().with("version: 1\nmodels:\n  - {names: [bare], input: 1, output: 1}\n  - {names: [searching], input: 1, output: 1, context: 1000, max_output: 10, hosted: {rounds: 4, call: 0.01}}\n").unwrap();
    let refused = |body: &str| {
        let request = chat(body);
        let worst = prices.worst(&request);
        worst
            .and_then(|w| prices.worst_cost(&request, &w))
            .unwrap_err()
            .to_string()
    };
    for (body, wanted) in [
        (
            r#"{"model":"unheard","max_tokens":5}"#,
            "model `unheard`: add an entry",
        ),
        (r#"{"model":"unheard"}"#, "add `max_output`"),
        (
            r#"{"model":"bare","max_tokens":5,"messages":[{"content":[{"type":"image_url","image_url":{}}]}]}"#,
            "`messages.[].content.[].type: image_url` is not bounded",
        ),
        (
            r#"{"model":"bare","max_tokens":5,"plugins":[1]}"#,
            "`plugins` is not bounded",
        ),
        (
            r#"{"model":"gpt-5","max_tokens":5,"web_search_options":{}}"#,
            "tool `web_search_options`",
        ),
        (
            r#"{"model":"gpt-5-nano","max_tokens":5,"service_tier":"priority"}"#,
            "`service_tier:priority`",
        ),
        (
            r#"{"model":"gpt-5","max_tokens":5,"models":["o1"]}"#,
            "`models` lets the provider choose",
        ),
        (
            r#"{"model":"gpt-6-sol","max_tokens":5,"prompt_cache_options":{"ttl":"24h"}}"#,
            "add `cache_write_long`",
        ),
    ] {
        let error = refused(body);
        assert!(error.contains(wanted), "{body}: {error}");
    }
    // Tokens alone need no prices.
    let request = chat(r#"{"model":"unheard","max_tokens":5}"#);
    assert_eq!(prices.worst(&request).unwrap().output, 5);
    let request = chat(r#"{"model":"searching","max_tokens":5,"n":2,"web_search_options":{}}"#);
    let worst = prices.worst(&request).unwrap();
    assert_eq!((worst.input, worst.output, worst.hosted_calls), (4000, 40, 4));
    assert_eq!(prices.worst_cost(&request, &worst), Ok(MicroUsd(4040 + 40_000)));
}

#[test]
fn an_unknown_part_counts_as_a_full_window() {
    let prices = Prices::embedded().unwrap();
    let request = chat(
        r#"{"model":"gpt-4o","max_tokens":5,"messages":[{"content":[{"type":"image_url","image_url":{}}]}]}"#,
    );
    assert_eq!(prices.worst(&request).unwrap().input, 128_000);
    let request = chat(r#"{"model":"gpt-4o","messages":[{"content":"hi"}]}"#);
    let worst = prices.worst(&request).unwrap();
    assert_eq!(
        (worst.input, worst.output),
        (request.body_bytes + crate::ADDED, 16_384)
    );
    let long = format!(
        r#"{{"model":"gpt-4o","n":3,"max_completion_tokens":7,"messages":[{{"content":"{}"}}]}}"#,
        "x".repeat(200_000)
    );
    let worst = prices.worst(&chat(&long)).unwrap();
    assert_eq!((worst.input, worst.output), (128_000, 21));
}
