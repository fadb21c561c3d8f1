//! Questions that no resolver asks: too long, cut short, coiled, in floods. Names go on being answered.
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
use upstream::Upstream;
use watched::{MOST, run, under};

const DNS: &str = r#"
import random
server = next(l.split()[1] for l in open("/etc/resolv.conf") if l.startswith("nameserver"))
def name(text): return b"".join(bytes([len(p)]) + p for p in text.encode().split(b".")) + b"\0"
def question(of, kind=1, count=1, more=b""):
    return struct.pack(">HHHHHH", random.randrange(65536), 0x100, count, 0, 0, 0) + of + struct.pack(">HH", kind, 1) + more
def udp(packet, wait=2):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(wait)
    try: s.sendto(packet, (server, 53)); return s.recv(65536)
    except OSError: return b""
def tcp(data, wait=2):
    s = socket.create_connection((server, 53), 20); s.settimeout(wait)
    try: s.sendall(data); return s.recv(65536)[2:]
    except OSError: return b""
def code(answer): return {0: "answered" if answer[6:8] != b"\0\0" else "empty", 1: "malformed", 2: "failed", 4: "unknown", 5: "refused"}.get(answer[3] & 15, "?") if len(answer) > 3 else "silence"
def framed(packet): return struct.pack(">H", len(packet)) + packet
"#;

#[test]
fn questions_that_are_too_long_or_cut_are_not_answered() {
    everywhere(|place, tier| {
        let server = Upstream::fixed(&["api.test"], "ok");
        let attack = format!(
            "{DNS}{}",
            r#"
good = question(name("api.test"))
print("good", code(udp(good)), code(tcp(framed(good))))
bad = {
    "long": good + b"\0" * 1400, "longest": good + b"\0" * 60000, "many": question(name("api.test"), count=500, more=(name("api.test") + b"\0\1\0\1") * 80),
    "coil": question(b"\3api\xc0\x0c"), "self": question(b"\xc0\x0c"), "forward": question(b"\xc0\xff"), "label": question(bytes([63]) + b"a" * 63 + bytes([64]) + b"b" * 64 + b"\0"),
    "name": question(b"".join(bytes([60]) + b"a" * 60 for _ in range(6)) + b"\0"), "short": good[:14], "head": good[:5], "nothing": b"", "answer": good[:2] + b"\x81\x80" + good[4:],
}
for title, packet in bad.items():
    over = udp(packet, 0.3) if len(packet) < 65000 and packet else b""
    print(title, code(over), code(tcp(framed(packet), 0.3)))
# A length that promises more than comes, on more connections than are served at a time.
held = [socket.create_connection((server, 53), 20) for _ in range(80)]
for s in held: s.sendall(b"\xff\xff" + good)
print("held", code(udp(good)))
for s in held: s.close()
print("after", code(tcp(framed(good), 15)))
"#
        );
        let (text, peak) = run(place, tier, &server, &attack);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "good answered answered", "{text}");
        let (bad, rest) = lines[1..].split_at(12);
        for line in bad {
            let said: Vec<&str> = line.split(' ').skip(1).collect();
            let ok = ["malformed", "refused", "silence", "unknown"];
            assert!(said.iter().all(|s| ok.contains(s)), "{text}");
        }
        assert_eq!(rest, ["held answered", "after answered", "200"], "{text}");
        assert!(peak > 0 && peak < MOST, "{peak} KiB");
    });
}

#[test]
fn a_flood_of_names_costs_little_and_ends() {
    everywhere(|place, tier| {
        let server = Upstream::fixed(&["api.test"], "ok");
        // Allowed ones, which are remembered, and others, which are recorded.
        let policy = "network:\n  allow: [{host: api.test, methods: [GET]}, '*.many.test']";
        let attack = format!(
            "{DNS}{}",
            r#"
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.setblocking(False)
for i in range(12000):
    s.sendto(question(name("n%d.%s.test" % (i, "many" if i % 3 else "other"))), (server, 53))
    if i % 32 == 31:
        time.sleep(0.004)
        try:
            while True: s.recv(600)
        except OSError: pass
print("known", code(udp(question(name("api.test")), 20)))
"#
        );
        let (text, peak) = under(place, tier, policy, &server, &attack);
        assert_eq!(text, "known answered\n200\n");
        assert!(peak > 0 && peak < MOST, "{peak} KiB");
        let log = out(&place.qila(&["log", "latest", "--json"]).output().unwrap());
        assert!(
            log.matches(".many.test\"").count() <= 8192,
            "more names than are remembered"
        );
        assert_eq!(server.got().len(), 1);
    });
}
