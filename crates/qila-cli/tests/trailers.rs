//! Fields after a body over HTTP/1.1, byte for byte as the agent and the upstream have them.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: a failure here is the test's"
)]
mod common;
#[path = "common/outside.rs"]
mod outside;
#[path = "common/recorded.rs"]
mod recorded;
#[path = "common/upstream.rs"]
mod upstream;
use common::{err, everywhere, out};
use outside::{KEY, POLICY, command};
use recorded::events;
use upstream::{Got, Upstream, Wire, answer};

/// Sends a request to api.test, and says all that comes back.
const RAW: &str = r#"
import os, socket, ssl
KEY = os.environ["API_KEY"]
def send(line, fields, body=""):
    plain = socket.create_connection(("api.test", 443), 20)
    s = ssl.create_default_context().wrap_socket(plain, server_hostname="api.test")
    head = line + " HTTP/1.1\r\nHost: api.test\r\nConnection: close, TE\r\n" + "".join(f + "\r\n" for f in fields)
    s.sendall((head + "\r\n" + body).encode())
    got = b""
    while piece := s.recv(4096): got += piece
    print(got.decode().replace("\r\n", "|"), flush=True)
"#;

fn run(place: &common::Place, tier: &str, policy: &str, server: &Upstream, script: &str) -> Vec<String> {
    place.write("ws/raw.py", &format!("{RAW}{script}"));
    let done = command(place, tier, policy, server, "/usr/bin/python3 raw.py")
        .output()
        .unwrap();
    assert!(done.status.success(), "{} {}", out(&done), err(&done));
    out(&done).lines().map(str::to_owned).collect()
}

fn summed(got: &Got, wire: &mut dyn Wire) -> std::io::Result<()> {
    let announced = match got.path() {
        "/v1/quiet" => "",
        _ => "Trailer: X-Sum, Set-Cookie\r\nTrailer: x-end\r\n",
    };
    let key = got.header("authorization").unwrap_or("");
    write!(
        wire,
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n{announced}\r\n2\r\nok\r\n0\r\n\
         x-sum: [{key}]\r\nset-cookie: a=b\r\nx-quiet: 1\r\nx-end: 2\r\n\r\n"
    )
}

#[test]
fn what_follows_an_answer_is_masked_and_given_to_who_asked() {
    everywhere(|place, tier| {
        let server = Upstream::start(&["api.test"], summed);
        let script = r#"
key = "Authorization: Bearer " + KEY
send("GET /v1/sum", [key, "TE: gzip;q=0.1, trailers"])
send("GET /v1/sum", [key])
send("GET /v1/quiet", [key, "TE: trailers"])
"#;
        let said = run(place, tier, POLICY, &server, script);
        let masked = "*".repeat(KEY.len());
        let end = format!("|2|ok|0|x-sum: [Bearer {masked}]|x-end: 2||");
        assert!(said[0].contains("|trailer: x-sum, x-end|"), "{said:?}");
        assert!(said[0].ends_with(&end), "{said:?}");
        for text in &said[1..] {
            assert!(text.ends_with("|2|ok|0||"), "{text}");
            assert!(!text.to_ascii_lowercase().contains("trailer:"), "{text}");
        }
        let asked: Vec<_> = server
            .got()
            .iter()
            .map(|g| g.header("te").map(str::to_owned))
            .collect();
        let trailers = Some("trailers".to_owned());
        assert_eq!(asked, [trailers.clone(), None, trailers]);
    });
}

#[test]
fn what_follows_a_request_is_passed_on_unless_a_placeholder_is_in_it() {
    everywhere(|place, tier| {
        let server = Upstream::start(&["api.test"], |_, wire| answer(wire, "200 OK", "", b"got it"));
        let script = r#"
BODY = '{"query":"{ a }"}'
def post(path, announced, after):
    fields = ["Transfer-Encoding: chunked", "Content-Type: application/json"] + announced
    if path.startswith("/v1"): fields.append("Authorization: Bearer " + KEY)
    send("POST " + path, fields, "%x\r\n%s\r\n0\r\n" % (len(BODY), BODY) + "".join(f + "\r\n" for f in after) + "\r\n")
post("/v1/good", ["Trailer: X-Sum, authorization"], ["x-sum: 3", "authorization: Bearer other", "x-quiet: 1"])
post("/v1/bad", ["Trailer: x-sum"], ["x-sum: " + KEY])
post("/v1/quiet", [], ["x-sum: " + KEY])
post("/graph", ["Trailer: x-sum"], ["x-sum: " + KEY])
post("/graph", ["Trailer: x-sum"], ["x-sum: 3"])
"#;
        let policy = POLICY.replace(
            "    - plain.test\n",
            "    - {host: api.test, methods: [POST], paths: [/graph], graphql: {operations: [query]}}\n",
        );
        let said = run(place, tier, &policy, &server, script);
        assert!(said[0].ends_with("|got it"), "{said:?}");
        for text in &said[1..4] {
            assert!(text.starts_with("HTTP/1.1 403 "), "{text}");
            assert!(text.contains("placeholder"), "{text}");
        }
        // A body that had to be read as a whole goes on with its length, and nothing after it.
        assert!(said[4].ends_with("|got it"), "{said:?}");
        let got = server.got();
        assert_eq!(got.len(), 2, "{got:?}");
        assert_eq!((got[1].header("trailer"), got[1].header("x-sum")), (None, None));
        let denied = events(place, &[]);
        let denied = denied
            .iter()
            .filter(|e| e["event"] == "decision" && e["allowed"] == false);
        assert_eq!(denied.count(), 3);
        let of = |name: &str| {
            got[0]
                .headers
                .iter()
                .filter(|(n, _)| n == name)
                .collect::<Vec<_>>()
        };
        assert_eq!(got[0].header("x-sum"), Some("3"));
        assert_eq!(got[0].header("trailer"), Some("x-sum"));
        assert_eq!(
            (of("authorization").len(), of("x-quiet").len()),
            (1, 0),
            "{got:?}"
        );
    });
}
