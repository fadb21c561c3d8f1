//! Floods and lies at the gateway's HTTP/2 and TLS: it ends the connection, stays small, and serves the next one.
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
#[path = "common/watched.rs"]
mod watched;
use common::{everywhere, out};
use multiplexed::{Reply, start};
use outside::{POLICY, command};
use upstream::{Upstream, answer};
use watched::{MOST, run};

fn ok() -> Upstream {
    start(&["api.test"], &["h2", "http/1.1"], |_| Reply {
        body: vec!["ok".into()],
        ..Reply::default()
    })
}

#[test]
fn streams_opened_and_taken_back_end_the_connection() {
    everywhere(|place, tier| {
        let server = ok();
        let (text, peak) = run(
            place,
            tier,
            &server,
            r#"
s = connect(); s.sendall(START); n = 0
for i in range(20000):
    if not send(s, frame(1, 5, 2 * i + 1, HEAD) + frame(3, 0, 2 * i + 1, struct.pack(">I", 8))): break
    n = i
kinds, code = ended(s)
print("code", code, "few" if n < 19999 or code is not None else "ALL")
"#,
        );
        // ENHANCE_YOUR_CALM, or the connection was cut while the flood went on.
        assert!(
            text.starts_with("code 11 few") || text.starts_with("code None few"),
            "{text}"
        );
        assert!(server.got().len() < 5000, "{}", server.got().len());
        assert!(peak > 0 && peak < MOST, "{peak} KiB");
    });
}

#[test]
fn a_head_without_end_ends_the_connection() {
    everywhere(|place, tier| {
        let server = ok();
        let (text, peak) = run(
            place,
            tier,
            &server,
            r#"
s = connect(); s.sendall(START + frame(1, 1, 1, HEAD)); sent = 0
while sent < 256 << 20 and send(s, frame(9, 0, 1, literal(b"x-pad", b"y" * 16000))): sent += 16000
print("cut" if sent < 32 << 20 else "TOOK %d" % sent)
"#,
        );
        assert!(text.starts_with("cut"), "{text}");
        // Nothing of it was ever a request.
        assert_eq!(server.got().len(), 1);
        assert!(peak > 0 && peak < MOST, "{peak} KiB");
    });
}

#[test]
fn a_head_too_long_is_refused_and_one_that_fits_is_not() {
    everywhere(|place, tier| {
        let server = ok();
        let (text, _) = run(
            place,
            tier,
            &server,
            r#"
for fields in (30, 5000):
    s = connect(); head = HEAD + b"".join(literal(b"x-%d" % i, b"y" * 100) for i in range(fields))
    parts = [head[i:i + 16000] for i in range(0, len(head), 16000)]
    data = frame(1, 1 | (4 if len(parts) == 1 else 0), 1, parts[0])
    for i, part in enumerate(parts[1:]): data += frame(9, 4 if i == len(parts) - 2 else 0, 1, part)
    send(s, START + data); s.settimeout(3)
    kinds, code = ended(s)
    print(fields, "answered" if 1 in kinds else "refused")
"#,
        );
        assert!(text.starts_with("30 answered\n5000 "), "{text}");
        let long = server.got().iter().filter(|g| g.headers.len() > 1000).count();
        assert_eq!(long, 0, "the upstream got what the gateway should have refused");
    });
}

#[test]
fn frames_that_ask_for_an_answer_each_do_not_pile_up() {
    everywhere(|place, tier| {
        let server = ok();
        let (_, peak) = run(
            place,
            tier,
            &server,
            r#"
# Never reads: every answer would have to be kept.
s = connect(); s.sendall(START); s.settimeout(2)
flood = (frame(6, 0, 0, b"12345678") + frame(4, 0, 0)) * 500
for i in range(2000):
    if not send(s, flood): break
"#,
        );
        assert!(peak > 0 && peak < MOST, "{peak} KiB");
    });
}

#[test]
fn a_reader_who_does_not_read_costs_little() {
    everywhere(|place, tier| {
        let big = "x".repeat(1 << 20);
        let server = start(&["api.test"], &["h2", "http/1.1"], move |_| Reply {
            body: vec![big.clone(); 8],
            ..Reply::default()
        });
        let (_, peak) = run(
            place,
            tier,
            &server,
            r#"
s = connect(); wide = frame(4, 0, 0, struct.pack(">HI", 4, 0x7fffffff)) + frame(8, 0, 0, struct.pack(">I", 0x7fff0000))
s.sendall(START + wide + b"".join(frame(1, 5, 2 * i + 1, HEAD) for i in range(100))); time.sleep(2)
"#,
        );
        assert!(peak > 0 && peak < 2 * MOST, "{peak} KiB");
    });
}

#[test]
fn a_greeting_in_pieces_is_read_all_the_same() {
    everywhere(|place, tier| {
        let server = ok();
        let (text, _) = run(
            place,
            tier,
            &server,
            r#"
def piecemeal(host, size):
    context = ssl.create_default_context(); context.check_hostname = False; context.verify_mode = ssl.CERT_NONE
    inside, outside = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(inside, outside, server_hostname=host)
    s = socket.create_connection((host, 443), 20); s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while True:
        try: tls.do_handshake(); break
        except ssl.SSLWantReadError:
            data = outside.read()
            for i in range(0, len(data), size): s.sendall(data[i:i + size]); time.sleep(0.001)
            more = s.recv(65536)
            if not more: return "closed"
            inside.write(more)
    return tls.version()
print(piecemeal("api.test", 7), piecemeal("plain.test", 1))
"#,
        );
        assert!(text.starts_with("TLSv1.3 TLSv1.3\n"), "{text}");
    });
}

#[test]
fn an_upstream_that_lies_about_length_deceives_nobody() {
    everywhere(|place, tier| {
        let server = Upstream::start(&["api.test"], |got, wire| match got.path() {
            "/v1/short" => {
                write!(wire, "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this")?;
                wire.flush()?;
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            "/v1/long" => {
                write!(
                    wire,
                    "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfake"
                )?;
                wire.flush()
            }
            "/v1/both" => {
                write!(
                    wire,
                    "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\n\r\n"
                )?;
                wire.flush()
            }
            "/v1/away" => answer(wire, "302 Found", "location: https://evil.test/v1/a\r\n", b""),
            _ => answer(wire, "200 OK", "", b"true"),
        });
        for version in ["--http1.1", "--http2"] {
            let script = format!(
                "c='curl -sS -m 20 {version} -w \\n%{{http_code}}:%{{exitcode}}\\n'
                 $c https://api.test/v1/short; $c https://api.test/v1/long https://api.test/v1/true
                 $c -L https://api.test/v1/away"
            );
            let done = command(place, tier, POLICY, &server, &script).output().unwrap();
            let text = out(&done);
            assert!(!text.contains("fake"), "{version}: {text}");
            assert!(
                text.contains("\n200:18\n") || text.contains("\n200:92\n"),
                "{version}: {text}"
            );
            assert!(text.contains("ok\n200:0\ntrue\n200:0\n"), "{version}: {text}");
            // The name that it is sent to is not known here.
            assert!(text.ends_with("302:6\n"), "{version}: {text}");
        }
    });
}
