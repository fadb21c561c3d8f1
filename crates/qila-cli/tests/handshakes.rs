//! TLS greetings that want more than a greeting: a hidden name, data before the handshake, a handshake anew; and programs that trust
//! one certificate only.
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
use common::{Place, err, everywhere, out};
use outside::sh;
use std::process::Command;
use upstream::{Upstream, answer};

fn echo() -> Upstream {
    Upstream::start(&["api.test", "plain.test"], |got, wire| {
        answer(wire, "200 OK", "", got.line.as_bytes())
    })
}

fn log(place: &Place) -> String {
    out(&place.qila(&["log", "latest"]).output().unwrap())
}

/// A greeting of TLS 1.3 made by hand, with an extension that no library of the host's would send.
const GREETING: &str = r#"
import os, socket, struct
def ext(kind, body): return struct.pack(">HH", kind, len(body)) + body
def greeting(host, *more):
    name = host.encode(); share = os.urandom(32)
    exts = (ext(0, struct.pack(">HBH", len(name) + 3, 0, len(name)) + name) + ext(10, b"\0\2\0\x1d") + ext(13, b"\0\4\4\3\x08\4")
        + ext(43, b"\2\3\4") + ext(45, b"\1\1") + ext(51, struct.pack(">HHH", 36, 0x1d, 32) + share) + b"".join(more))
    body = b"\3\3" + os.urandom(32) + b"\x20" + os.urandom(32) + b"\0\2\x13\2" + b"\1\0" + struct.pack(">H", len(exts)) + exts
    hand = b"\1" + struct.pack(">I", len(body))[1:] + body
    return b"\x16\3\1" + struct.pack(">H", len(hand)) + hand
def answered(host, sent):
    s = socket.create_connection((host, 443), 20); s.settimeout(20)
    try: s.sendall(sent); got = s.recv(5)
    except OSError: got = b""
    # A handshake record, an alert, or nothing.
    return {0x16: "hello", 0x15: "alert"}.get(got[:1] and got[0], "nothing")
ECH = ext(0xfe0d, b"\0" + struct.pack(">HHB", 1, 1, 7) + struct.pack(">H", 32) + os.urandom(32) + struct.pack(">H", 64) + os.urandom(64))
EARLY = ext(42, b"")
"#;

#[test]
fn a_hidden_name_is_not_passed_through() {
    everywhere(|place, tier| {
        let server = echo();
        place.write(
            "ws/ask.py",
            &format!("{GREETING}\nfor host in ('plain.test', 'api.test'): print(answered(host, greeting(host)), answered(host, greeting(host, ECH)))"),
        );
        let done = sh(place, tier, &server, "python3 ask.py");
        // Where the gateway ends TLS itself, the inner name is nothing to it, and what follows is judged by what it says.
        assert_eq!(out(&done), "hello nothing\nhello hello\n", "{}", err(&done));
        // The one that was passed on.
        assert_eq!(server.accepted(), 1);
        let log = log(place);
        assert_eq!(log.matches("TLS hides the host's name (ECH)").count(), 1, "{log}");
    });
}

#[test]
fn what_is_said_before_the_handshake_is_not_heard() {
    everywhere(|place, tier| {
        let server = echo();
        place.write(
            "ws/ask.py",
            &format!(
                "{GREETING}\nearly = b'\\x17\\3\\3' + struct.pack('>H', 60) + os.urandom(60)
print(answered('api.test', greeting('api.test', EARLY) + early))"
            ),
        );
        // By hand, and by a real client that remembers a session.
        let script = "python3 ask.py
            printf 'GET /v1/early HTTP/1.1\\r\\nHost: api.test\\r\\n\\r\\n' > early
            s='openssl s_client -quiet -connect api.test:443 -servername api.test -tls1_3'
            (printf 'GET /v1/one HTTP/1.1\\r\\nHost: api.test\\r\\nConnection: close\\r\\n\\r\\n'; sleep 2) | timeout 20 $s -ign_eof -sess_out sess 2>/dev/null | tail -n 1; echo
            (sleep 2) | timeout 20 openssl s_client -connect api.test:443 -servername api.test -tls1_3 -sess_in sess -early_data early 2>&1 | grep -i 'early data'
            curl -sS -m 20 https://api.test/v1/last; echo";
        let done = sh(place, tier, &server, script);
        let text = out(&done);
        assert!(
            text.contains("GET /v1/one HTTP/1.1\n") && text.ends_with("GET /v1/last HTTP/1.1\n"),
            "{text} {}",
            err(&done)
        );
        assert!(
            !text.to_ascii_lowercase().contains("early data was accepted"),
            "{text}"
        );
        let lines: Vec<String> = server.got().iter().map(|g| g.path().to_owned()).collect();
        assert_eq!(lines, ["/v1/one", "/v1/last"], "{text}");
    });
}

#[test]
fn a_handshake_anew_is_refused() {
    everywhere(|place, tier| {
        let server = echo();
        // `R` on a line of its own asks for one.
        let script = "(sleep 1; echo R; sleep 2) | timeout 20 openssl s_client -connect api.test:443 -servername api.test -tls1_2 > said 2>&1
            grep -c RENEGOTIATING said; grep -ci 'error\\|alert' said; curl -sS -m 20 --tls-max 1.2 https://api.test/v1/a; echo";
        let done = sh(place, tier, &server, script);
        let text = out(&done);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            (lines[0], lines[2]),
            ("1", "GET /v1/a HTTP/1.1"),
            "{text} {}",
            err(&done)
        );
        assert!(lines[1].parse::<u32>().unwrap() >= 1, "{text}");
        assert_eq!(server.got().len(), 1);
    });
}

/// The hash of the server's public key, as curl pins it.
fn pin(server: &Upstream) -> String {
    let script = format!(
        "openssl s_client -connect {} -servername plain.test </dev/null 2>/dev/null | openssl x509 -pubkey -noout \
         | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | openssl base64",
        server.address
    );
    let done = Command::new("sh").args(["-c", &script]).output().unwrap();
    format!("sha256//{}", out(&done).trim())
}

#[test]
fn a_program_that_trusts_one_certificate_only_is_told_the_way_out() {
    everywhere(|place, tier| {
        let server = echo();
        let pin = pin(&server);
        place.write("ws/theirs.pem", &server.ca);
        let ask = |options: &str, host: &str| {
            format!(
                "curl -sS -m 20 {options} -o got -w '%{{http_code}} %{{exitcode}}\\n' https://{host}/v1/a 2>/dev/null; "
            )
        };
        // By its authority, and by its key: where the gateway ends TLS both fail; where it passes it through both work.
        let (authority, key) = (
            "--cacert theirs.pem",
            format!("--cacert theirs.pem --pinnedpubkey {pin}"),
        );
        let script = ["api.test", "plain.test"]
            .map(|h| ask(authority, h) + &ask(&key, h))
            .concat()
            + &ask(&format!("--pinnedpubkey {pin}"), "api.test");
        let done = sh(place, tier, &server, &script);
        assert_eq!(
            out(&done),
            "000 60\n000 60\n200 0\n200 0\n000 90\n",
            "{}",
            err(&done)
        );
        assert_eq!(server.got().len(), 2);
        let log = log(place);
        let advice = "a rule without methods, paths and credential passes TLS through untouched";
        assert_eq!(log.matches(advice).count(), 3, "{log}");
        assert_eq!(log.matches("ended TLS without a request").count(), 1, "{log}");
    });
}
