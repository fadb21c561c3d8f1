//! Bodies that are far larger than they look: what must be read of them is bounded before it is.
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
use common::everywhere;
use upstream::{Upstream, answer};
use watched::{MOST, run, under};

const READING: &str = "network:
  allow:
    - {host: api.test, paths: ['/graphql'], graphql: {operations: [query]}}
    - {host: api.test, paths: ['/mcp'], mcp: {methods: [tools/list]}}
    - {host: api.test, methods: [GET], paths: ['/v1/**'], credential: key}
    - plain.test
credentials:
  key: {source: env:REAL_KEY, placement: bearer, hosts: [api.test], env: [API_KEY]}";

/// Asks with a body in a coding, and prints the status.
const POST: &str = r#"
import gzip, json, subprocess, zlib
def coded(data, times=1):
    for _ in range(times): data = gzip.compress(data, 9)
    return data
def post(path, body, coding):
    open("body", "wb").write(body)
    return subprocess.run(["curl", "-sS", "-m", "30", "-o", "/dev/null", "-w", "%{http_code}", "-H", "content-type: application/json",
        "-H", "content-encoding: " + coding, "--data-binary", "@body", "https://api.test" + path], capture_output=True, text=True).stdout
query = b'{"query":"query A { name }"}'
listing = b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}'
"#;

#[test]
fn a_request_that_must_be_read_is_not_unpacked_without_end() {
    everywhere(|place, tier| {
        let server = Upstream::start(&["api.test", "plain.test"], |_, wire| {
            let json = "content-type: application/json\r\n";
            answer(
                wire,
                "200 OK",
                json,
                br#"{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}"#,
            )
        });
        let attack = format!(
            "{POST}{}",
            r#"
print("honest", post("/graphql", coded(query), "gzip"), post("/mcp", coded(listing), "gzip"), post("/graphql", coded(query, 2), "gzip, gzip"))
# Half a gigabyte of one long string, in half a megabyte; the same once more packed; three codings; one that lies.
packer = zlib.compressobj(9, zlib.DEFLATED, 31); pad = b" " * (1 << 20)
bomb = packer.compress(b'{"query":"' + b"a" * 10)
for _ in range(512): bomb += packer.compress(pad)
bomb += packer.compress(b'"}') + packer.flush()
print("bombs", len(bomb) < 1 << 20, post("/graphql", bomb, "gzip"), post("/mcp", bomb, "gzip"), post("/graphql", gzip.compress(bomb), "gzip, gzip"),
    post("/graphql", coded(query, 3), "gzip, gzip, gzip"), post("/graphql", query, "gzip"), post("/graphql", coded(query) + coded(query), "gzip"))
"#
        );
        let (text, peak) = under(place, tier, READING, &server, &attack);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "honest 200 200 200", "{text}");
        let refused: Vec<&str> = lines[1].split(' ').skip(2).collect();
        assert_eq!(
            (lines[1].starts_with("bombs True "), refused.len()),
            (true, 6),
            "{text}"
        );
        assert!(refused.iter().all(|status| status.starts_with('4')), "{text}");
        // Three honest ones, and the one that follows the attack.
        assert_eq!(server.got().len(), 4, "{:?}", server.got());
        assert!(peak > 0 && peak < MOST, "{peak} KiB");
    });
}

#[test]
fn an_answer_that_is_packed_against_the_word_of_the_gateway_is_not_unpacked() {
    everywhere(|place, tier| {
        // A real gzip stream of 64 MiB, sent whatever was accepted.
        let bomb = {
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            for _ in 0..64 {
                std::io::Write::write_all(&mut packer, &vec![b'x'; 1 << 20]).unwrap();
            }
            packer.finish().unwrap()
        };
        let server = Upstream::start(&["api.test"], move |got, wire| {
            assert_eq!(got.header("accept-encoding").unwrap_or("identity"), "identity");
            match got.path() {
                "/v1/bomb" => answer(wire, "200 OK", "content-encoding: gzip\r\n", &bomb),
                _ => answer(wire, "200 OK", "", b"ok"),
            }
        });
        let (text, peak) = run(
            place,
            tier,
            &server,
            r#"
import subprocess
ask = lambda path: subprocess.run(["curl", "-sS", "--compressed", "-m", "30", "-o", "/dev/null", "-w", "%{http_code}",
    "-H", "Authorization: Bearer " + os.environ["API_KEY"], "https://api.test" + path], capture_output=True, text=True).stdout
print(ask("/v1/bomb"), ask("/v1/a"))
"#,
        );
        assert!(text.starts_with("502 200\n"), "{text}");
        assert!(peak > 0 && peak < MOST, "{peak} KiB");
    });
}
