//! Agents and upstreams that take their time: they cost little, hold nobody up, and are not waited for for ever.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: a failure here is the test's"
)]
mod common;
#[path = "common/frames.rs"]
mod frames;
#[path = "common/outside.rs"]
mod outside;
#[path = "common/upstream.rs"]
mod upstream;
#[path = "common/watched.rs"]
mod watched;
use common::{everywhere, out};
use upstream::{Upstream, answer};
use watched::{MOST, run};

#[test]
fn connections_that_say_nothing_or_little_hold_nobody_up() {
    everywhere(|place, tier| {
        let server = Upstream::fixed(&["api.test"], "ok");
        let (text, peak) = run(
            place,
            tier,
            &server,
            r#"
import subprocess, threading
silent = [socket.create_connection(("api.test", 443), 20) for _ in range(120)]
half = [socket.create_connection(("api.test", 443), 20) for _ in range(120)]
for s in half: s.sendall(b"\x16\x03\x01\x02")
shaken = [connect(("http/1.1",)) for _ in range(60)]
for s in shaken: s.sendall(b"GET /v1/a HTTP/1.1\r\nHost: api.test\r\nX-Slow: ")
def drip():
    for i in range(40):
        for s in shaken: send(s, b"x")
        time.sleep(0.05)
dripping = threading.Thread(target=drip); dripping.start()
honest = [subprocess.run(["curl", "-sS", "-m", "20", "-o", "/dev/null", "-w", "%{http_code}", "https://api.test/v1/b"], capture_output=True, text=True).stdout for _ in range(5)]
dripping.join()
print("meanwhile", *honest)
# None of them was answered or sent on, and those that say too little for a decision end in time.
start, ends = time.time(), []
for s in (silent[0], half[0]):
    s.settimeout(20)
    try: got = s.recv(100)
    except OSError: got = b""
    ends.append("ended" if not got and time.time() - start < 19 else repr(got))
print(*ends)
for s in shaken: s.sendall(b"\r\n\r\n")
print(sum(s.recv(12) == b"HTTP/1.1 200" for s in shaken), "finished")
"#,
        );
        assert!(
            text.starts_with("meanwhile 200 200 200 200 200\nended ended\n60 finished\n"),
            "{text}"
        );
        assert_eq!(server.got().len(), 5 + 60 + 1);
        assert!(peak > 0 && peak < MOST, "{peak} KiB");
    });
}

#[test]
fn whoever_does_not_read_its_answers_costs_little() {
    everywhere(|place, tier| {
        let big = "x".repeat(8 << 20);
        let server = Upstream::start(&["api.test"], move |_, wire| {
            answer(wire, "200 OK", "", big.as_bytes())
        });
        let (_, peak) = run(
            place,
            tier,
            &server,
            r#"
held = [connect(("http/1.1",)) for _ in range(64)]
for s in held: s.sendall(b"GET /v1/a HTTP/1.1\r\nHost: api.test\r\n\r\n" * 8)
time.sleep(2)
for s in held[:4]:
    for _ in range(50): s.recv(1); time.sleep(0.001)
"#,
        );
        assert!(peak > 0 && peak < MOST, "{peak} KiB");
    });
}

#[test]
fn a_body_that_comes_slowly_arrives_whole() {
    everywhere(|place, tier| {
        let server = Upstream::start(&["api.test"], |got, wire| answer(wire, "200 OK", "", &got.body));
        let (text, _) = run(
            place,
            tier,
            &server,
            r#"
s = connect(("http/1.1",)); s.sendall(b"POST /v1/a HTTP/1.1\r\nHost: api.test\r\nContent-Length: 40\r\n\r\n")
t = connect(("http/1.1",)); t.sendall(b"POST /v1/a HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n")
for i in range(40):
    s.sendall(b"%d" % (i % 10)); t.sendall(b"1\r\n%d\r\n" % (i % 10)); time.sleep(0.03)
t.sendall(b"0\r\n\r\n")
for one in (s, t):
    data = b""
    while len(data.partition(b"\r\n\r\n")[2]) < 40: data += one.recv(1000)
    print(data.partition(b"\r\n\r\n")[2].decode())
"#,
        );
        let whole = "0123456789".repeat(4);
        assert!(text.starts_with(&format!("{whole}\n{whole}\n")), "{text}");
    });
}

#[test]
fn an_upstream_that_never_answers_is_given_up_with_its_agent() {
    everywhere(|place, tier| {
        let server = Upstream::start(&["api.test"], |got, wire| match got.path() {
            "/v1/never" => {
                std::thread::sleep(std::time::Duration::from_secs(25));
                Ok(())
            }
            _ => answer(wire, "200 OK", "", b"ok"),
        });
        // The agent gives up; others of its requests are answered meanwhile and afterwards.
        let script = "for i in 1 2 3 4 5; do curl -sS -m 2 https://api.test/v1/never 2>/dev/null & done
            curl -sS -m 20 https://api.test/v1/a; echo; wait; curl -sS -m 20 https://api.test/v1/a; echo";
        let done = outside::sh(place, tier, &server, script);
        assert_eq!(out(&done), "ok\nok\n", "{}", common::err(&done));
    });
}
