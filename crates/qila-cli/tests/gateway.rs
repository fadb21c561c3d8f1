//! What leaves a sandbox, judged by real servers outside it.
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
fn only_the_methods_and_paths_of_a_rule_pass() {
    everywhere(|place, tier| {
        let server = Upstream::fixed(&["api.test"], "ok");
        for denied in [
            "https://api.test/admin",
            "-X DELETE https://api.test/v1/a",
            "--path-as-is https://api.test/v1/../admin",
            "--path-as-is https://api.test/v1/%2e%2e/admin",
            "-H 'Host: other.test' https://api.test/v1/a",
            "http://clear.test:81/",
        ] {
            let done = sh(place, tier, &server, &format!("{CURL} {denied}"));
            let text = out(&done);
            assert!(!text.ends_with("\n200\n"), "{denied}: {text}");
        }
        assert_eq!(server.got().len(), 0, "{:?}", server.got());
        let text = out(&sh(
            place,
            tier,
            &server,
            &format!("{CURL} https://api.test/admin"),
        ));
        assert!(text.contains("\"ask_for\"") && text.contains("/admin"), "{text}");
        let text = out(&sh(
            place,
            tier,
            &server,
            &format!("{CURL} -X POST -d a=b https://api.test/v1/a/b"),
        ));
        assert_eq!(text, "ok\n200\n");
        assert_eq!(server.got()[0].body, b"a=b");
    });
}

#[test]
fn what_no_rule_allows_is_out_of_reach() {
    everywhere(|place, tier| {
        let server = Upstream::fixed(&["api.test", "plain.test"], "ok");
        // A listener of the host's that no rule names: every address of the host is tried.
        let canary = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        let port = canary.local_addr().unwrap().port();
        canary.set_nonblocking(true).unwrap();
        let udp = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        udp.set_nonblocking(true).unwrap();
        let udp_port = udp.local_addr().unwrap().port();
        let addresses = out(&Command::new("hostname").arg("-I").output().unwrap()).replace('\n', " ");
        let script = format!(
            "for a in 127.0.0.1 {addresses} 169.254.169.254; do
               curl -sS -m 3 http://$a:{port}/; echo x > /dev/udp/$a/{udp_port}; done
             curl -sS -m 3 -g 'http://[::1]:{port}/'
             curl -sS -m 3 https://evil.test/ ; echo $?
             curl -sS -m 3 --connect-to ::api.test: https://plain.test/ ; echo $?
             curl -sS -m 3 -k --resolve plain.test:443:1.1.1.1 https://plain.test/; echo $?
             curl -sS -m 3 --doh-url https://1.1.1.1/dns-query https://evil.test/; echo $?"
        );
        let done = sh(
            place,
            tier,
            &server,
            &format!("bash -c '{}'", script.replace('\'', "'\\''")),
        );
        let text = out(&done);
        assert!(
            canary.accept().is_err(),
            "the host's listener was reached: {text}"
        );
        assert!(
            udp.recv(&mut [0; 9]).is_err(),
            "the host's socket was reached: {text}"
        );
        assert_eq!(server.got().len(), 0, "{:?}", server.got());
        assert_eq!(
            text.lines().filter(|l| *l != "0").count(),
            4,
            "{text} {}",
            err(&done)
        );
        // The twin: the same listener, once a rule names its name.
        let text = out(&sh(
            place,
            tier,
            &server,
            &format!("{CURL} -k https://plain.test/"),
        ));
        assert_eq!(text, "ok\n200\n");
    });
}

#[test]
fn names_are_answered_only_as_far_as_a_rule_goes() {
    everywhere(|place, tier| {
        let server = Upstream::fixed(&["api.test"], "ok");
        place.write("ws/ask.py", ASK);
        let done = sh(place, tier, &server, "/usr/bin/python3 ask.py");
        let text = out(&done);
        let expected = "A api.test 0 1\nA API.TEST 0 1\nA evil.test 5 0\nTXT evil.test 5 0\nTXT api.test 0 0\n\
                        AAAA api.test 0 0\nANY api.test 0 0\nA data.in.labels.api.test 5 0\nA localhost 0 1\n";
        assert_eq!(text, expected, "{}", err(&done));
    });
}

/// Asks questions over UDP, and the first over TCP too; prints type, name, code and number of answers.
const ASK: &str = "
import socket, struct
def packet(name, kind):
    q = b''.join(bytes([len(p)]) + p.encode() for p in name.split('.')) + b'\\0'
    return struct.pack('>HHHHHH', 7, 0x100, 1, 0, 0, 0) + q + struct.pack('>HH', kind, 1)
def show(label, name, answer):
    code, count = answer[3] & 15, struct.unpack('>H', answer[6:8])[0]
    return f'{label} {name} {code} {count}'
lines = []
for name, label, kind in [('api.test','A',1),('API.TEST','A',1),('evil.test','A',1),('evil.test','TXT',16),('api.test','TXT',16),
    ('api.test','AAAA',28),('api.test','ANY',255),('data.in.labels.api.test','A',1),('localhost','A',1)]:
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5)
    s.sendto(packet(name, kind), ('8.8.8.8', 53)); udp = s.recv(600)
    t = socket.create_connection(('9.9.9.9', 53), 5); p = packet(name, kind)
    t.sendall(struct.pack('>H', len(p)) + p); n = struct.unpack('>H', t.recv(2))[0]; tcp = t.recv(n)
    assert show(label, name, udp) == show(label, name, tcp)
    print(show(label, name, udp))
";

#[test]
fn a_name_never_leads_inward() {
    everywhere(|place, tier| {
        let server = Upstream::fixed(&[], "inside");
        let port = server.address.port();
        let policy = format!(
            "network:\n  allow:\n    - {{host: 169.254.169.254, port: 80}}\n    - {{host: metadata.google.internal, port: 80}}\n    \
             - {{host: 127.0.0.0/8, port: {port}}}\n    - {{host: 192.0.2.0/24, port: 80}}"
        );
        let script = format!(
            "for u in http://169.254.169.254/ http://metadata.google.internal/ http://192.0.2.1:{port}/; do curl -sS -m 20 -o /dev/null -w '%{{http_code}}\\n' $u; done"
        );
        let done = command(place, tier, &policy, &server, &script).output().unwrap();
        assert!(out(&done).lines().all(|l| l != "200"), "{}", out(&done));
        assert_eq!(server.accepted(), 0);
        // The operator's own word makes it possible.
        let policy = "network:\n  allow:\n    - {host: clear.test, port: 80}";
        let done = command(
            place,
            tier,
            policy,
            &server,
            &format!("{CURL} http://clear.test/"),
        )
        .output()
        .unwrap();
        assert_eq!(out(&done), "inside\n200\n", "{}", err(&done));
    });
}

#[test]
fn where_a_rule_names_hosts_only_tls_is_the_servers_own() {
    everywhere(|place, tier| {
        let server = Upstream::fixed(&["api.test", "plain.test"], "ok");
        place.write("ws/server-ca.pem", &server.ca);
        let script = format!(
            "{CURL} --cacert server-ca.pem https://plain.test/; {CURL} https://plain.test/
             {CURL} --cacert server-ca.pem https://api.test/v1/a; {CURL} https://api.test/v1/a"
        );
        let done = sh(place, tier, &server, &script);
        let lines: Vec<String> = out(&done)
            .lines()
            .map(str::to_owned)
            .filter(|l| !l.is_empty())
            .collect();
        assert_eq!(lines, ["ok", "200", "000", "000", "ok", "200"], "{}", err(&done));
    });
}

#[test]
fn explicit_proxies_are_served_by_the_same_rules() {
    everywhere(|place, tier| {
        let server = Upstream::start(&["api.test"], |got, wire| {
            answer(
                wire,
                "200 OK",
                "",
                got.header("authorization").unwrap_or("-").as_bytes(),
            )
        });
        let proxy = "-x http://127.0.0.1:3128";
        let script = format!(
            "{CURL} {proxy} -H \"Authorization: Bearer $API_KEY\" https://api.test/v1/a; {CURL} {proxy} https://evil.test/; \
             {CURL} {proxy} https://api.test/admin; {CURL} {proxy} http://evil.test/"
        );
        let done = sh(place, tier, &server, &script);
        let text = out(&done);
        let codes: Vec<&str> = text
            .lines()
            .filter(|l| l.len() == 3 && l.bytes().all(|b| b.is_ascii_digit()))
            .collect();
        assert_eq!(codes, ["200", "000", "403", "403"], "{text} {}", err(&done));
        let seen = server.got();
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert_eq!(
            seen[0].header("authorization"),
            Some(format!("Bearer {KEY}").as_str())
        );
        assert!(!text.contains(KEY));
    });
}

#[test]
fn answers_stream_and_large_bodies_pass_whole() {
    everywhere(|place, tier| {
        // The second half of `/v1/slow` is sent only once the first was answered by a request to `/v1/ack`.
        let acknowledged = std::sync::Arc::new(std::sync::Barrier::new(2));
        let barrier = acknowledged.clone();
        let server = Upstream::start(&["api.test", "plain.test"], move |got, wire| match got.path() {
            "/v1/slow" => {
                wire.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n6\r\nfirst\n\r\n")?;
                wire.flush()?;
                barrier.wait();
                wire.write_all(b"7\r\nsecond\n\r\n0\r\n\r\n")?;
                wire.flush()
            }
            "/v1/ack" => {
                barrier.wait();
                answer(wire, "200 OK", "", b"")
            }
            "/v1/large" | "/large" => answer(wire, "200 OK", "", &vec![b'z'; 20_000_000]),
            _ => answer(wire, "200 OK", "", got.body.len().to_string().as_bytes()),
        });
        let script = "curl -sSN -m 60 https://api.test/v1/slow | while read line; do echo $line; \
                      [ $line = first ] && curl -sS -m 60 https://api.test/v1/ack; done
             curl -sS -m 60 https://api.test/v1/large | wc -c
             curl -sSk -m 60 https://plain.test/large | wc -c
             head -c 9000000 /dev/zero > /tmp/z
             curl -sS -m 60 --data-binary @/tmp/z https://api.test/v1/length; echo
             curl -sS -m 60 -H 'Transfer-Encoding: chunked' --data-binary @/tmp/z https://api.test/v1/length; echo
             curl -sS -m 60 -H 'Expect: 100-continue' --data-binary @/tmp/z https://api.test/v1/length";
        let done = sh(place, tier, &server, script);
        assert_eq!(
            out(&done),
            "first\nsecond\n20000000\n20000000\n9000000\n9000000\n9000000",
            "{}",
            err(&done)
        );
    });
}

#[test]
fn rates_are_kept() {
    everywhere(|place, tier| {
        let server = Upstream::fixed(&["api.test"], "ok");
        let policy = "network:\n  allow: [{host: api.test, methods: [GET], rate: 3/h}]";
        let script = format!("for i in 1 2 3 4 5; do {CURL} -o /dev/null https://api.test/; done");
        let done = command(place, tier, policy, &server, &script).output().unwrap();
        let text = out(&done);
        let codes: Vec<&str> = text.split_whitespace().collect();
        assert_eq!(codes, ["200", "200", "200", "429", "429"], "{}", err(&done));
        assert_eq!(server.got().len(), 3);
    });
}

#[test]
fn a_run_does_not_outlive_its_gateway() {
    everywhere(|place, tier| {
        let server = Upstream::fixed(&["api.test"], "ok");
        let script = format!(
            "{CURL} https://api.test/v1/a > first; touch ready; sleep 30; {CURL} https://api.test/v1/b; echo still here"
        );
        let mut args = command(place, tier, POLICY, &server, &script);
        args.stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        let child = args.spawn().unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while server.got().is_empty() && std::time::Instant::now() < deadline {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let gateway = gateway_of(child.id());
        assert!(
            Command::new("kill")
                .args(["-9", &gateway.to_string()])
                .status()
                .unwrap()
                .success()
        );
        let done = child.wait_with_output().unwrap();
        assert_eq!(done.status.code(), Some(125), "{}", err(&done));
        assert!(err(&done).contains("the gateway is gone"), "{}", err(&done));
        assert!(!out(&done).contains("still here"));
        assert_eq!(server.got().len(), 1);
    });
}

/// The one child of Qila's that is a copy of Qila behind a filter of system calls.
fn gateway_of(parent: u32) -> u32 {
    let children = out(&Command::new("pgrep")
        .args(["-P", &parent.to_string()])
        .output()
        .unwrap());
    let read =
        |pid: u32, name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let pids = children.lines().filter_map(|l| l.parse::<u32>().ok());
    let mut found = pids.filter(|pid| {
        let filtered = read(*pid, "status")
            .lines()
            .any(|l| l.starts_with("Seccomp:") && l.ends_with('2'));
        filtered && read(*pid, "cmdline").contains("--upstream")
    });
    found.next().unwrap()
}

#[test]
fn what_is_decided_is_in_the_log() {
    everywhere(|place, tier| {
        let server = Upstream::fixed(&["api.test", "plain.test"], "ok");
        let script = "curl -sS -m 20 -H \"Authorization: Bearer $API_KEY\" https://api.test/v1/a?secret=1
             curl -sS -m 20 https://api.test/admin; curl -sSk -m 20 https://plain.test/; curl -sS -m 20 https://evil.test/; exit 3";
        place.write("ws/script.sh", script);
        let done = sh(place, tier, &server, "sh script.sh");
        assert_eq!(done.status.code(), Some(3), "{}", err(&done));
        let log = place.qila(&["log", "--json"]).output().unwrap();
        let text = out(&log);
        assert!(!text.contains(KEY) && !text.contains("secret=1"), "{text}");
        let events: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let kinds = events.iter().filter_map(|e| e["event"].as_str());
        let kinds: Vec<&str> = kinds.filter(|k| *k != "log_opened").collect();
        assert_eq!(kinds.first(), Some(&"launch"), "{text}");
        assert_eq!(kinds.get(1), Some(&"lease_created"), "{text}");
        assert_eq!(kinds.last(), Some(&"exit"), "{text}");
        assert_eq!(kinds.get(kinds.len() - 2), Some(&"lease_revoked"), "{text}");
        let decisions: Vec<String> = events
            .iter()
            .filter(|e| e["event"] == "decision")
            .map(|e| {
                let a = &e["access"];
                let text = |v: &serde_json::Value| v.as_str().unwrap_or("-").to_owned();
                let what = match a["access"].as_str() {
                    Some("dns") => format!("dns {}", text(&a["name"])),
                    Some("http") => format!(
                        "http {} {}{}",
                        text(&a["method"]),
                        text(&a["host"]),
                        text(&a["path"])
                    ),
                    _ => format!("connect {}", text(&a["host"])),
                };
                format!("{what} {} {}", e["allowed"], text(&e["credential"]))
            })
            .collect();
        let mut expected = vec![
            "dns api.test true -",
            "http GET api.test/v1/a true key",
            "http GET api.test/admin false -",
            "dns plain.test true -",
            "connect plain.test true -",
            "dns evil.test false -",
        ];
        let mut found: Vec<&str> = decisions.iter().map(String::as_str).collect();
        found.dedup();
        // A resolver may ask again for a name that it was refused.
        expected.retain(|e| !found.contains(e));
        assert!(expected.is_empty(), "missing {expected:?} in {found:?}");
        let usage = &events.last().unwrap()["usage"];
        assert_eq!(usage["allowed"], 4, "{text}");
        assert!(
            place
                .qila(&["audit", "verify"])
                .output()
                .unwrap()
                .status
                .success()
        );
    });
}

#[test]
fn a_request_with_two_meanings_is_refused_before_it_is_read() {
    everywhere(|place, tier| {
        let server = Upstream::fixed(&[], "ok");
        place.write("ws/raw.py", RAW);
        let policy =
            "network:\n  allow:\n    - {host: clear.test, port: 80, methods: [GET, POST], paths: ['/v1/**']}";
        let done = command(place, tier, policy, &server, "/usr/bin/python3 raw.py")
            .output()
            .unwrap();
        let expected = "400\n400\n400\n400\n400\n400\n200 400\n200 200\n";
        assert_eq!(out(&done), expected, "{}", err(&done));
        let paths: Vec<String> = server.got().iter().map(|g| g.path().to_owned()).collect();
        assert_eq!(paths, ["/v1/first", "/v1/one", "/v1/two"]);
    });
}

/// Sends bytes that no library would, and prints the status of each answer.
const RAW: &str = r"
import socket
def send(data):
    s = socket.create_connection(('clear.test', 80), 10)
    s.sendall(data.encode()); s.settimeout(10); got = b''
    while True:
        piece = s.recv(4096)
        got += piece
        if not piece or got.count(b'HTTP/1.1 ') == data.count('GET /v1') + data.count('POST /v1') and got.endswith((b'ok', b'}')):
            break
    print(' '.join(p[:3].decode() for p in got.split(b'HTTP/1.1 ')[1:]))
H = 'Host: clear.test\r\n'
send('POST /v1/a HTTP/1.1\r\n' + H + 'Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n')
send('POST /v1/b HTTP/1.1\r\n' + H + 'Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd')
send('GET /v1/c HTTP/1.1\n' + H + '\n')
send('POST /v1/d HTTP/1.1\r\n' + H + 'Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n')
send('GET /v1/e HTTP/1.1\r\n' + H + 'X: a\r\n folded\r\n\r\n')
send('GET /v1/f HTTP/1.1\r\n' + H + 'Host: other.test\r\n\r\n')
send('GET /v1/first HTTP/1.1\r\n' + H + '\r\nGET /v1/second HTTP/1.1\r\n' + H + 'Content_Length: 5\r\n\r\n')
send('POST /v1/one HTTP/1.1\r\n' + H + 'Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /v1/two HTTP/1.1\r\n' + H + '\r\n')
";

#[test]
fn a_body_in_chunks_arrives_whatever_the_method_is() {
    everywhere(|place, tier| {
        let server = Upstream::fixed(&["api.test"], "ok");
        let script = "for m in GET POST; do for v in 1.1 2; do
            curl -sS -m 20 --http$v -X $m -H 'Transfer-Encoding: chunked' -d hello https://api.test/v1/a; done; done
            curl -sS -m 20 https://api.test/v1/a";
        let done = sh(place, tier, &server, script);
        assert_eq!(out(&done), "ok".repeat(5), "{}", err(&done));
        let bodies: Vec<Vec<u8>> = server.got().into_iter().map(|g| g.body).collect();
        let hello = b"hello".to_vec();
        assert_eq!(
            bodies,
            [hello.clone(), hello.clone(), hello.clone(), hello, Vec::new()]
        );
    });
}
