//! HTTP/2 through the gateway, by curl, judged by a real server.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: a failure here is the test's"
)]
mod common;
#[path = "common/frames.rs"]
mod frames;
#[path = "common/multiplexed.rs"]
mod multiplexed;
#[path = "common/outside.rs"]
mod outside;
#[path = "common/upstream.rs"]
mod upstream;
use common::{err, everywhere, out};
use multiplexed::{Reply, start};
use outside::{KEY, sh};

const CURL: &str = "curl -sS -m 20 -w '\\n%{http_code} %{http_version}\\n' --http2";

#[test]
fn rules_and_credentials_hold_for_every_stream() {
    everywhere(|place, tier| {
        let server = start(&["api.test"], &["h2", "http/1.1"], |got| Reply {
            headers: vec![("x-echo", got.header("authorization").unwrap_or("").to_owned())],
            body: vec![
                format!("{} saw {KEY}", &got.line),
                KEY[..9].to_owned(),
                KEY[9..].to_owned(),
            ],
            trailers: vec![
                ("x-after", format!("end {KEY}")),
                ("set-cookie", "a=b".to_owned()),
            ],
            ..Reply::default()
        });
        let script = format!(
            "{CURL} -D head -H \"Authorization: Bearer $API_KEY\" https://api.test/v1/a; cat head
             {CURL} https://api.test/admin; {CURL} -H 'Host: other.test' https://api.test/v1/a
             {CURL} -H \"X-Other: $API_KEY\" https://api.test/v1/b
             {CURL} -d \"key=$API_KEY\" https://api.test/v1/b"
        );
        let done = sh(place, tier, &server, &script);
        let text = out(&done);
        assert!(
            text.contains("GET /v1/a HTTP/2.0 saw ****"),
            "{text} {}",
            err(&done)
        );
        assert!(text.contains("\n200 2\n"), "{text}");
        assert!(
            text.contains("x-after: end ****") && !text.contains("set-cookie"),
            "{text}"
        );
        assert!(!text.contains(KEY) && !text.contains("sk-real"), "{text}");
        assert_eq!(text.matches("\n403 2\n").count(), 3, "{text}");
        assert!(text.contains("\n421 2\n"), "{text}");
        assert!(text.contains("\"ask_for\"") && text.contains("/admin"), "{text}");
        let seen = server.got();
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert_eq!(
            seen[0].header("authorization"),
            Some(format!("Bearer {KEY}").as_str())
        );
        assert_eq!(seen[0].header(":authority"), Some("api.test"));
        assert_eq!(seen[0].header("host"), None);
    });
}

#[test]
fn many_streams_share_one_connection_to_the_upstream() {
    everywhere(|place, tier| {
        let server = start(&["api.test"], &["h2"], |got| Reply {
            body: vec![got.path().to_owned()],
            ..Reply::default()
        });
        let script = "curl -sS -m 20 --http2 --parallel --parallel-max 20 'https://api.test/v1/[1-60]'";
        let done = sh(place, tier, &server, script);
        let text = out(&done);
        for n in 1..=60 {
            assert!(text.contains(&format!("/v1/{n}")), "{n}: {text} {}", err(&done));
        }
        assert_eq!(server.got().len(), 60);
        // Curl may open a second one before it knows that the first takes all.
        assert!(server.accepted() <= 3, "{}", server.accepted());
    });
}

#[test]
fn an_upstream_that_speaks_only_the_older_version_is_reached_all_the_same() {
    everywhere(|place, tier| {
        let server = start(&["api.test"], &["http/1.1"], |got| Reply {
            body: vec![String::from_utf8_lossy(&got.body).into_owned()],
            ..Reply::default()
        });
        let script = format!(
            "head -c 300000 /dev/zero | tr '\\0' x > big
             {CURL} -H 'Cookie: a=1' -H 'Cookie: b=2' --data-binary @big -o back https://api.test/v1/a; cmp big back && echo same
             curl -sS -m 20 --http2 --parallel 'https://api.test/v1/[1-9]' -o '#1'; ls | grep -c '^[1-9]$'"
        );
        let done = sh(place, tier, &server, &script);
        assert_eq!(out(&done), "\n200 2\nsame\n9\n", "{}", err(&done));
        let seen = server.got();
        assert_eq!(seen[0].line, "POST /v1/a HTTP/1.1");
        assert_eq!(seen[0].header("host"), Some("api.test"));
        assert_eq!(seen[0].headers.iter().filter(|(n, _)| n == "cookie").count(), 1);
    });
}

#[test]
fn without_tls_it_is_spoken_with_who_knows_beforehand() {
    everywhere(|place, tier| {
        let server = start(&[], &[], |got| Reply {
            body: vec![got.line.clone()],
            ..Reply::default()
        });
        let script = format!(
            "{CURL}-prior-knowledge http://clear.test/x; {CURL}-prior-knowledge -H 'Host: other.test' http://clear.test/x"
        );
        let done = sh(place, tier, &server, &script);
        let text = out(&done);
        assert!(
            text.starts_with("GET /x HTTP/2.0\n200 2\n"),
            "{text} {}",
            err(&done)
        );
        assert!(text.ends_with("\n421 2\n"), "{text}");
        assert_eq!(server.got().len(), 1);
    });
}

/// Asks for the second once the first has begun to be answered.
const IN_TURN: &str = r#"
def head(path):
    return literal(b":method", b"GET") + literal(b":scheme", b"https") + literal(b":path", path) + literal(b":authority", b"api.test")
s = connect(); s.sendall(START + frame(1, 5, 1, head(b"/v1/slow")))
data, said, over = b"", {1: b"", 3: b""}, 0
while over < 2:
    data += s.recv(65536)
    while len(data) >= 9 and len(data) >= 9 + int.from_bytes(data[:3], "big"):
        n, kind, flags, stream = int.from_bytes(data[:3], "big"), data[3], data[4], int.from_bytes(data[5:9], "big")
        if kind == 1 and stream == 1: s.sendall(frame(1, 5, 3, head(b"/v1/fast")))
        if kind == 0: said[stream] += data[9:9 + n]
        over += (kind in (0, 1)) and flags & 1
        data = data[9 + n:]
print((said[1] + said[3]).decode(), end="")
"#;

#[test]
fn an_answer_that_goes_on_holds_up_no_other() {
    everywhere(|place, tier| {
        // It speaks HTTP/1.1 alone, and goes on with the first answer once the second was asked for.
        let asked = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let server = upstream::Upstream::start(&["api.test"], move |got, wire| {
            use std::sync::atomic::Ordering::SeqCst;
            if got.path() == "/v1/fast" {
                asked.store(true, SeqCst);
                return upstream::answer(wire, "200 OK", "", b"fast\n");
            }
            write!(wire, "HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\nbegin\n")?;
            wire.flush()?;
            let start = std::time::Instant::now();
            while !asked.load(SeqCst) && start.elapsed().as_secs() < 10 {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            write!(wire, "{}", if asked.load(SeqCst) { "ended\n" } else { "late!\n" })?;
            wire.flush()
        });
        place.write("ws/client.py", &format!("{}{IN_TURN}", frames::CLIENT));
        let done = outside::sh(place, tier, &server, "python3 client.py");
        assert_eq!(
            common::out(&done),
            "begin\nended\nfast\n",
            "{}",
            common::err(&done)
        );
    });
}
