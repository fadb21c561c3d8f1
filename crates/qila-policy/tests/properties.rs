//! Any text is a policy or an error; a policy has one canonical text.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside a test function"
)]
use proptest::prelude::*;
use qila_policy::{NoFiles, canonical, parse, preset};

/// Pieces of policies: put together at random they reach deeper than random characters do.
const PIECES: &[&str] = &[
    "version: 1\n",
    "extends: ",
    "offline\n",
    "coding-agent\n",
    "resources:\n",
    "  memory: ",
    "2GiB\n",
    "{hard: 1GiB}\n",
    "  cpu: ",
    "0.5\n",
    "filesystem:\n",
    "  hide: ",
    "[~/.ssh, ., /]\n",
    "  read: ",
    "[~/.ssh]\n",
    "network:\n",
    "  allow:\n",
    "    - pypi.org\n",
    "    - {host: \"*.a.org\", credential: k, methods: [GET]}\n",
    "    - {host: a.org, query: {p: \"[0-9]*\"}, headers: {x-a: \"*\"}, body: 1MiB, rate: {limit: 1/s, burst: 2}}\n",
    "    - {host: a.org, graphql: {operations: [query], fields: [\"a*\"]}}\n",
    "    - {host: a.org, mcp: {methods: [tools/call], tools: {\"r*\": {p: \"/d/*\"}}, server: [\"*\"]}}\n",
    "    - {host: a.org, when: 'context.body_size < 5'}\n",
    "budgets:\n",
    "  - {money: 5 USD}\n",
    "  - {tokens: 1k, per: agent, window: 1d}\n",
    "traces: {content: keep}\n",
    "  g: {source: {github_app: {app_id: 1, installation_id: 2, private_key: file:/k}}, placement: bearer, hosts: [a.org], ttl: 5m}\n",
    "  s: {source: {aws: {access_key_id: env:A, secret_access_key: env:B, region: r, service: s}}, placement: sigv4, hosts: [a.org]}\n",
    "credentials:\n",
    "  k: {source: env:K, placement: [bearer, {header: x-k}], hosts: [x.a.org], env: [K]}\n",
    "environment:\n",
    "  pass: [K*]\n",
    "&a ",
    "*a",
    "<<: ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "'",
    "|\n",
    ">\n",
    "\t",
    "  ",
    "\n",
    "---\n",
    "...\n",
    "!!str ",
    "? ",
    ": ",
    "~",
    "null",
    "\u{feff}",
    "\r\n",
    "\0",
    "é",
    "\u{202e}",
];

fn check(text: &str) -> Result<(), TestCaseError> {
    match parse("p", text, &mut NoFiles) {
        Ok(policy) => {
            let again = parse("p", text, &mut NoFiles).unwrap();
            prop_assert_eq!(canonical(&policy), canonical(&again));
        }
        Err(error) => {
            let shown = error.to_string();
            prop_assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{:?}", shown);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn any_text_ends_well(text in "\\PC{0,200}") {
        check(&text)?;
        check(&format!("version: 1\n{text}"))?;
    }

    #[test]
    fn any_pieces_end_well(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..40)) {
        check(&pieces.concat())?;
        check(&format!("version: 1\n{}", pieces.concat()))?;
    }

    #[test]
    fn a_damaged_preset_ends_well(which in 0..preset::PRESETS.len(), at in any::<prop::sample::Index>(), piece in prop::sample::select(PIECES)) {
        let mut text = preset::PRESETS[which].text.to_owned();
        let at = at.index(text.len());
        if text.is_char_boundary(at) {
            text.insert_str(at, piece);
        }
        check(&text)?;
    }

    #[test]
    fn the_order_of_keys_does_not_matter(shuffled in Just(vec![
        "resources: {cpu: 1, memory: 1GiB}\n",
        "network: {allow: [{host: a.org, credential: a}, {host: b.org, credential: b}]}\n",
        "credentials:\n  b: {source: env:B, placement: bearer, hosts: [b.org]}\n  a: {source: env:A, placement: bearer, hosts: [a.org]}\n",
        "environment: {set: {B: 1, A: 2}}\n",
        "version: 1\n",
    ]).prop_shuffle()) {
        let one = parse("p", &shuffled.concat(), &mut NoFiles).unwrap();
        let other = parse("p", "version: 1\nenvironment: {set: {A: 2, B: 1}}\nresources: {memory: 1GiB, cpu: 1}\ncredentials:\n  a: {source: env:A, placement: bearer, hosts: [a.org]}\n  b: {source: env:B, placement: bearer, hosts: [b.org]}\nnetwork: {allow: [{host: a.org, credential: a}, {host: b.org, credential: b}]}\n", &mut NoFiles).unwrap();
        prop_assert_eq!(canonical(&one), canonical(&other));
    }
}
