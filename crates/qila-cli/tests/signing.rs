//! Requests to AWS: the agent signs with a placeholder, what arrives is signed with the real keys.
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
use common::{everywhere, out};
use outside::command;
use std::io::Write;
use std::process::{Command, Stdio};
use upstream::{Got, Upstream, answer};

const ID: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

fn policy(service: &str) -> String {
    format!(
        "network:
  allow:
    - {{host: api.test, methods: [GET, PUT, POST], credential: aws}}
credentials:
  aws:
    source: {{aws: {{access_key_id: env:REAL_ID, secret_access_key: env:REAL_SECRET, region: eu-central-1, service: {service}}}}}
    placement: sigv4
    hosts: [api.test]
    env: [AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY]"
    )
}

/// Computes what the signature of a request has to be, from what arrived: by the standard library of another language.
const CHECK: &str = r#"
import hashlib, hmac, json, sys, urllib.parse as u
r = json.load(sys.stdin)
head = {}
for name, value in r["headers"]:
    head.setdefault(name.lower(), []).append(value)
said = head["authorization"][0]
part = lambda name: said.split(name + "=")[1].split(",")[0].strip()
scope, signed, signature = part("Credential"), part("SignedHeaders"), part("Signature")
path, _, query = r["target"].partition("?")
if r["service"] != "s3":
    path = u.quote(path, safe="/-_.~")
pairs = sorted((u.quote(u.unquote(a), safe="-_.~"), u.quote(u.unquote(b), safe="-_.~")) for a, _, b in (p.partition("=") for p in query.split("&") if p))
canonical = "\n".join([r["method"], path, "&".join(a + "=" + b for a, b in pairs)]
    + [n + ":" + ",".join(v.strip() for v in head[n]) for n in signed.split(";")] + ["", signed, head["x-amz-content-sha256"][0]])
ident, day, region, service, last = scope.split("/")
assert [ident, region, service, last] == [r["id"], "eu-central-1", r["service"], "aws4_request"], scope
for needed in ["host", "x-amz-date", "x-amz-content-sha256"]:
    assert needed in signed.split(";"), signed
if head["x-amz-content-sha256"][0] != "UNSIGNED-PAYLOAD":
    assert head["x-amz-content-sha256"][0] == hashlib.sha256(bytes.fromhex(r["body"])).hexdigest()
key = ("AWS4" + r["secret"]).encode()
for text in [day, region, service, last]:
    key = hmac.new(key, text.encode(), hashlib.sha256).digest()
text = "\n".join(["AWS4-HMAC-SHA256", head["x-amz-date"][0], "/".join([day, region, service, last]), hashlib.sha256(canonical.encode()).hexdigest()])
assert hmac.new(key, text.encode(), hashlib.sha256).hexdigest() == signature, canonical
print("signed")
"#;

fn check(got: &Got, service: &str) {
    let mut words = got.line.split(' ');
    let body: String = got.body.iter().map(|b| format!("{b:02x}")).collect();
    let text = serde_json::json!({
        "method": words.next(), "target": words.next(), "headers": got.headers, "body": body, "service": service, "id": ID, "secret": SECRET});
    let mut python = Command::new("/usr/bin/python3")
        .args(["-c", CHECK])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python
        .stdin
        .take()
        .unwrap()
        .write_all(text.to_string().as_bytes())
        .unwrap();
    let said = python.wait_with_output().unwrap();
    assert_eq!(out(&said), "signed\n", "{got:?}");
}

#[test]
fn what_an_agent_signs_arrives_signed_by_the_real_keys() {
    everywhere(|place, tier| {
        for service in ["s3", "dynamodb"] {
            // It says back what must never come back.
            let server = Upstream::start(&["api.test", "plain.test"], |request, wire| {
                let said = request.header("authorization").unwrap_or_default().to_owned();
                answer(wire, "200 OK", "", format!("{said} {SECRET}").as_bytes())
            });
            let sign =
                format!("curl -sS -m 20 -w ' %{{http_code}}\\n' --aws-sigv4 aws:amz:eu-central-1:{service}");
            let script = format!(
                "{sign} --user \"$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY\" 'https://api.test/a%20b/c?x=1&list-type=2&a=%2F'
                {sign} --user \"$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY\" -X PUT -d 'some text' https://api.test/put
                {sign} --user 'AKIAFOREIGN0000000000:other' https://api.test/foreign
                curl -sS -m 20 -w ' %{{http_code}}\\n' -H \"Authorization: Bearer $AWS_ACCESS_KEY_ID\" https://api.test/stray
                curl -sS -m 20 -w ' %{{http_code}}\\n' -H 'x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD' \\
                    -H \"Authorization: AWS4-HMAC-SHA256 Credential=$AWS_ACCESS_KEY_ID/20260101/r/s3/aws4_request, SignedHeaders=host, Signature=00\" https://api.test/pieces"
            );
            let mut run = command(place, tier, &policy(service), &server, &script);
            let done = run
                .env("REAL_ID", ID)
                .env("REAL_SECRET", SECRET)
                .output()
                .unwrap();
            let text = out(&done);
            let lines: Vec<&str> = text.lines().collect();
            assert_eq!(lines.len(), 5, "{text} {}", common::err(&done));
            assert!(lines[..3].iter().all(|l| l.ends_with(" 200")), "{text}");
            assert!(
                lines[3].contains("qila_violation") && lines[3].ends_with(" 403"),
                "{text}"
            );
            assert!(
                lines[4].contains("piece by piece") && lines[4].ends_with(" 403"),
                "{text}"
            );
            assert!(!text.contains(SECRET) && !text.contains(ID), "{text}");
            let got = server.got();
            assert_eq!(got.len(), 3);
            check(&got[0], service);
            check(&got[1], service);
            // A signature by somebody else's key is the agent's own affair.
            assert!(
                got[2]
                    .header("authorization")
                    .unwrap()
                    .contains("AKIAFOREIGN0000000000")
            );
        }
    });
}
