//! The fuzz target over committed seeds and mutations of them, on every test run.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside a test function"
)]
#[path = "../../../fuzz/mutate.rs"]
mod mutate;

#[test]
fn any_text_is_a_policy_or_an_error() {
    let words: &[&[u8]] = &[
        b"version: 1\n",
        b"extends: offline\n",
        b"extends: [a, b]\n",
        b"\n  ",
        b"- ",
        b": ",
        b"{",
        b"}",
        b"[",
        b"]",
        b"\"",
        b"'",
        b"#",
        b"&a ",
        b"*a",
        b"!!str ",
        b"<<: *a\n",
        b"|\n",
        b"---\n",
        b"\t",
        b"~",
        b"null",
        b"9999999999999999999",
        b"-1",
        b"0x10",
        b"1e9",
        b"2GiB",
        b"60/min",
        b"*.org",
        b"::1",
        b"10.0.0.0/8",
        b"5 USD",
        b"[0-9]*",
        b"when: 'context.body_size < 5'\n",
        b"mcp: {tools: {\"*\": {a: b}}}",
        b"graphql: {fields: [a]}",
        b"{limit: 1/s, burst: 2}",
        b"per: agent",
        b"{vault: {}}",
        b"sigv4",
        b"\xc3\xa9",
        b"\xe2\x80\xae",
        b"../",
    ];
    mutate::run("policy", &[], words, 2000, qila_policy::fuzz_parse);
}

#[test]
fn the_seed_with_every_clause_is_a_policy() {
    let text = include_str!("../../../fuzz/seeds/policy/every-clause.yaml");
    if let Err(error) = qila_policy::parse("every-clause.yaml", text, &mut qila_policy::NoFiles) {
        panic!("{error}");
    }
}
