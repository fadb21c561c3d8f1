//! Real values stay outside, judged by the servers that get them and by all that is inside.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: a failure here is the test's"
)]
mod common;
#[path = "common/outside.rs"]
mod outside;
#[path = "common/upstream.rs"]
mod upstream;
use common::{err, everywhere, out};
use outside::{CURL, KEY, POLICY, command, sh};
use std::process::Command;
use upstream::{Upstream, answer};

#[test]
fn a_credential_is_placed_outside_and_never_seen_inside() {
    everywhere(|place, tier| {
        let server = Upstream::start(&["api.test"], |got, wire| {
            // Everything that came goes back, in several disguises.
            let value = got
                .header("authorization")
                .unwrap_or("")
                .trim_start_matches("Bearer ")
                .to_owned();
            let percent: String = value.bytes().map(|b| format!("%{b:02X}")).collect();
            let body = format!("{value}|{}|{percent}|{value}", base64(value.as_bytes()));
            answer(wire, "200 OK", &format!("x-echo: {value}\r\n"), body.as_bytes())
        });
        let script =
            format!("env; {CURL} -i -H \"Authorization: Bearer $API_KEY\" https://api.test/v1/models");
        let done = sh(place, tier, &server, &script);
        let text = out(&done);
        assert!(text.ends_with("\n200\n"), "{text} {}", err(&done));
        let seen = server.got();
        assert_eq!(
            seen[0].header("authorization"),
            Some(format!("Bearer {KEY}").as_str())
        );
        let percent: String = KEY.bytes().map(|b| format!("%{b:02X}")).collect();
        for hidden in [KEY.to_owned(), base64(KEY.as_bytes()), percent] {
            assert!(!text.contains(&hidden), "{hidden} in {text}");
        }
        assert!(text.contains("API_KEY=qila0placeholder0"), "{text}");
        assert!(text.contains("x-echo: *"), "{text}");
        // Neither does the plan hold it, nor whatever the run left behind.
        let left = Command::new("grep")
            .args(["-r", "-l", KEY])
            .arg(place.path("state"))
            .output()
            .unwrap();
        assert_eq!(out(&left), "");
    });
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for piece in bytes.chunks(3) {
        let n = piece.iter().fold(0u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - piece.len()));
        for i in 0..=piece.len() {
            text.push(DIGITS[(n >> (18 - 6 * i)) as usize & 63] as char);
        }
        text.push_str(&"==="[piece.len()..]);
    }
    text
}

#[test]
fn a_placeholder_that_goes_astray_goes_nowhere() {
    everywhere(|place, tier| {
        let server = Upstream::fixed(&["api.test"], "ok");
        let tries = [
            "-H \"X-Other: $API_KEY\" https://api.test/v1/a",
            "-H \"Authorization: Basic $(printf 'u:%s' \"$API_KEY\" | base64 -w0)\" https://api.test/v1/a",
            "\"https://api.test/v1/a?k=$API_KEY\"",
            "-d \"$API_KEY\" https://api.test/v1/a",
            "-H 'Transfer-Encoding: chunked' -d \"x=$API_KEY\" https://api.test/v1/a",
            "-H \"Authorization: Bearer $API_KEY\" http://clear.test/",
        ];
        for astray in tries {
            let text = out(&sh(place, tier, &server, &format!("{CURL} {astray}")));
            assert!(
                text.ends_with("\n403\n") && text.contains("qila_violation"),
                "{astray}: {text}"
            );
        }
        // The body of a request is checked as it goes: its head may have left, no placeholder and no value ever does.
        for got in server.got() {
            let whole = format!("{got:?}");
            assert!(
                !whole.contains(KEY) && !whole.contains("qila0placeholder"),
                "{whole}"
            );
        }
        let text = out(&sh(
            place,
            tier,
            &server,
            &format!("{CURL} -d x=1 https://api.test/v1/a"),
        ));
        assert_eq!(text, "ok\n200\n");
    });
}

#[test]
fn a_credential_that_is_not_there_stops_the_launch() {
    everywhere(|place, tier| {
        let server = Upstream::fixed(&["api.test"], "ok");
        let mut without = command(place, tier, POLICY, &server, "touch canary");
        let done = without.env_remove("REAL_KEY").output().unwrap();
        assert_eq!(done.status.code(), Some(125));
        assert!(
            err(&done).contains("REAL_KEY") && err(&done).contains("optional"),
            "{}",
            err(&done)
        );
        let mut short = command(place, tier, POLICY, &server, "touch canary");
        let done = short.env("REAL_KEY", "short").output().unwrap();
        assert_eq!(done.status.code(), Some(125));
        assert!(
            err(&done).contains("shorter than 8 bytes") && !err(&done).contains("short\n"),
            "{}",
            err(&done)
        );
        // The twin: an optional one is done without, and so is the host that needs it.
        let policy = POLICY.replace("env: [API_KEY]", "env: [API_KEY], optional: true");
        let script = format!("echo \"[$API_KEY]\"; {CURL} https://api.test/v1/a; {CURL} http://clear.test/");
        let clear = Upstream::fixed(&[], "clear");
        let ca = place.write("ca.pem", &server.ca);
        let policy = place.policy("optional.yaml", &policy);
        let up = clear.at("clear.test");
        let args = [
            "run",
            "-q",
            "-p",
            &policy,
            "--isolation",
            tier,
            "--upstream",
            &up,
            "--upstream-ca",
            ca.to_str().unwrap(),
            "--",
            "sh",
            "-c",
            &script,
        ];
        let done = place.qila(&args).output().unwrap();
        assert!(
            out(&done).starts_with("[]\n") && out(&done).ends_with("clear\n200\n"),
            "{} {}",
            out(&done),
            err(&done)
        );
        assert_eq!(server.accepted(), 0);
    });
}

#[test]
fn a_credential_comes_back_in_no_corner_of_an_answer() {
    everywhere(|place, tier| {
        for version in ["--http1.1", "--http2"] {
            in_no_corner(place, tier, version);
        }
    });
}

fn in_no_corner(place: &common::Place, tier: &str, version: &str) {
    let server = Upstream::start(&["api.test"], |got, wire| {
        let key = got
            .header("authorization")
            .unwrap_or("")
            .trim_start_matches("Bearer ")
            .to_owned();
        match got.path() {
            "/v1/reason" => answer(wire, &format!("200 {key}"), "", b"ok"),
            "/v1/name" => answer(wire, "200 OK", &format!("{key}: 1\r\n"), b"ok"),
            "/v1/value" => answer(wire, "200 OK", &format!("x-key: {key}\r\n"), b"ok"),
            "/v1/gzip" => answer(wire, "200 OK", "content-encoding: gzip\r\n", b"\x1f\x8b"),
            _ => write!(
                wire,
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-key\r\n\r\n2\r\nok\r\n0\r\nx-key: {key}\r\n\r\n"
            ),
        }
    });
    let ask = format!(
        "curl -sS -m 20 --raw -i {version} -H 'TE: trailers' -H \"Authorization: Bearer $API_KEY\" https://api.test/v1"
    );
    let paths = ["reason", "name", "value", "gzip", "trailer"];
    let script: Vec<String> = paths.iter().map(|p| format!("{ask}/{p}; echo")).collect();
    let done = sh(place, tier, &server, &script.join("\n"));
    let text = out(&done);
    assert!(!text.to_ascii_lowercase().contains(KEY), "{text}");
    let codes: Vec<&str> = text
        .lines()
        .filter(|l| l.starts_with("HTTP/"))
        .filter_map(|l| l.split(' ').nth(1))
        .collect();
    assert_eq!(
        codes,
        ["200", "502", "200", "502", "200"],
        "{text} {}",
        err(&done)
    );
    let sent = server.got();
    assert!(
        sent.len() == 5
            && sent
                .iter()
                .all(|g| g.header("authorization").is_some_and(|a| a.contains(KEY)))
    );
}
