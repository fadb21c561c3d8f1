//! WebSocket through the gateway, over both versions of HTTP, by a client of bytes against a server of bytes.
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
use common::{err, everywhere, out};
use outside::{KEY, POLICY, command};
use std::sync::{Arc, Mutex};
use upstream::{Got, Upstream, Wire, answer};

/// Agrees, and then sends back every message, with the real key for each `KEY` in it, cut into fragments of five bytes.
fn echo(got: &Got, wire: &mut dyn Wire, heard: &Mutex<Vec<u8>>) -> std::io::Result<()> {
    if got.path() == "/v1/no" {
        return answer(wire, "426 Upgrade Required", "", b"not today");
    }
    let accept = qila_inspect::websocket::accept(got.header("sec-websocket-key").unwrap_or(""));
    let protocol = got.header("sec-websocket-protocol").map_or(String::new(), |p| {
        format!(
            "sec-websocket-protocol: {}\r\n",
            p.split(',').next().unwrap_or("").trim()
        )
    });
    write!(
        wire,
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: {accept}\r\n{protocol}\r\n"
    )?;
    wire.flush()?;
    let mut message = Vec::new();
    loop {
        let mut head = [0u8; 2];
        wire.read_exact(&mut head)?;
        let length = match head[1] & 0x7f {
            126 => {
                let mut more = [0u8; 2];
                wire.read_exact(&mut more)?;
                usize::from(u16::from_be_bytes(more))
            }
            127 => {
                let mut more = [0u8; 8];
                wire.read_exact(&mut more)?;
                usize::try_from(u64::from_be_bytes(more)).unwrap()
            }
            n => usize::from(n),
        };
        let mut key = [0u8; 4];
        wire.read_exact(&mut key)?;
        let mut payload = vec![0u8; length];
        wire.read_exact(&mut payload)?;
        payload
            .iter_mut()
            .zip(key.iter().cycle())
            .for_each(|(b, k)| *b ^= k);
        heard.lock().unwrap().extend(&payload);
        match head[0] & 0xf {
            8 => {
                wire.write_all(&[0x88, 2])?;
                wire.write_all(&payload[..2])?;
                return wire.flush();
            }
            9 => {
                wire.write_all(&[0x8a, u8::try_from(length).unwrap()])?;
                wire.write_all(&payload)?;
            }
            _ => {
                message.extend(payload);
                if head[0] & 0x80 != 0 {
                    let text = String::from_utf8(std::mem::take(&mut message))
                        .unwrap()
                        .replace("KEY", KEY);
                    let pieces: Vec<&[u8]> = text
                        .as_bytes()
                        .chunks(if text.len() > 5000 { 50_000 } else { 5 })
                        .collect();
                    for (n, piece) in pieces.iter().enumerate() {
                        let last = if n + 1 == pieces.len() { 0x80 } else { 0 };
                        wire.write_all(&[last | u8::from(n == 0)])?;
                        match u8::try_from(piece.len()) {
                            Ok(n) if n < 126 => wire.write_all(&[n])?,
                            _ => {
                                wire.write_all(&[126])?;
                                wire.write_all(&u16::try_from(piece.len()).unwrap().to_be_bytes())?;
                            }
                        }
                        wire.write_all(piece)?;
                    }
                }
            }
        }
        wire.flush()?;
    }
}

/// Frames over whatever carries bytes.
const SOCKET: &str = r#"
import base64, hashlib, os, struct, sys
from client import *
def pack(op, payload, fin=True, masked=True):
    n = len(payload); size = bytes([n]) if n < 126 else b"\x7e" + struct.pack(">H", n) if n < 65536 else b"\x7f" + struct.pack(">Q", n)
    key = os.urandom(4) if masked else b""; size = bytes([size[0] | (0x80 if masked else 0)]) + size[1:]
    return bytes([op | (0x80 if fin else 0)]) + size + key + (bytes(b ^ key[i % 4] for i, b in enumerate(payload)) if masked else payload)
class Frames:
    def __init__(self, read, write): self.more, self.write, self.data = read, write, b""
    def take(self, n):
        while len(self.data) < n:
            got = self.more()
            if not got: raise EOFError
            self.data += got
        out, self.data = self.data[:n], self.data[n:]; return out
    def message(self):
        text = b""
        while True:
            a, b = self.take(2); n = b & 0x7f
            assert not b & 0x80 and not a & 0x70
            if n == 126: n = struct.unpack(">H", self.take(2))[0]
            if n == 127: n = struct.unpack(">Q", self.take(8))[0]
            payload = self.take(n); op = a & 15
            if op == 8: return "closed %d" % struct.unpack(">H", payload[:2])[0]
            if op == 10: return "pong " + payload.decode()
            text += payload
            if a & 0x80: return text.decode()
def talk(f):
    f.write(pack(1, b"hello")); print(f.message())
    f.write(pack(1, b"one ", fin=False) + pack(9, b"here?") + pack(0, b"two", fin=True)); print(f.message()); print(f.message())
    f.write(pack(1, b"the KEY is KEY")); print(f.message())
    big = b"z" * 300000; f.write(pack(1, big)); print(f.message() == big.decode())
def old(path="/v1/ws", extra="", send=True):
    s = connect(("http/1.1",)); key = base64.b64encode(os.urandom(16)).decode()
    s.sendall(("GET %s HTTP/1.1\r\nHost: api.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: permessage-deflate\r\n%s\r\n" % (path, key, extra)).encode())
    head = b""
    while b"\r\n\r\n" not in head: head += s.recv(1)
    proof = base64.b64encode(hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()
    lines = head.decode().lower().split("\r\n")
    print(lines[0].split(" ")[1], [l for l in lines if "extensions" in l or "-protocol" in l], ("sec-websocket-accept: " + proof).lower() in lines)
    return Frames(lambda: s.recv(65536), s.sendall)
def new(path=b"/v1/ws", extra=b""):
    s = connect()
    s.sendall(START + frame(1, 4, 1, literal(b":method", b"CONNECT") + literal(b":protocol", b"websocket") + literal(b":scheme", b"https") + literal(b":path", path) + literal(b":authority", b"api.test") + literal(b"sec-websocket-version", b"13") + extra))
    data = b""; state = {"data": b"", "window": 65535}
    def read():
        while True:
            while len(state["data"]) < 9 or len(state["data"]) < 9 + int.from_bytes(state["data"][:3], "big"):
                got = s.recv(65536)
                if not got: return b""
                state["data"] += got
            n = int.from_bytes(state["data"][:3], "big"); kind, flags = state["data"][3], state["data"][4]
            payload = state["data"][9:9 + n]; state["data"] = state["data"][9 + n:]
            if kind == 4 and not flags & 1: s.sendall(frame(4, 1, 0))
            if kind == 0 and n: s.sendall(frame(8, 0, 0, struct.pack(">I", n)) + frame(8, 0, 1, struct.pack(">I", n))); return payload
            if kind == 1: print("head", "200" if b"\x88" == payload[:1] else payload.hex()[:8]); 
            if kind == 3 or kind == 7 or (kind in (0, 1) and flags & 1): return b""
    def write(b):
        for i in range(0, len(b), 16000): s.sendall(frame(0, 0, 1, b[i:i + 16000]))
    return Frames(read, write)
"#;

fn run(place: &common::Place, tier: &str, server: &Upstream, script: &str) -> String {
    place.write("ws/client.py", frames::CLIENT);
    place.write("ws/talk.py", SOCKET);
    place.write("ws/main.py", &format!("from talk import *\n{script}"));
    let done = command(place, tier, POLICY, server, "python3 main.py")
        .output()
        .unwrap();
    assert!(done.status.success(), "{} {}", out(&done), err(&done));
    out(&done)
}

fn server() -> (Upstream, Arc<Mutex<Vec<u8>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let listener = heard.clone();
    let server = Upstream::start(&["api.test"], move |got, wire| echo(got, wire, &listener));
    (server, heard)
}

const MASKED: &str = "the ****************************** is ******************************";

#[test]
fn messages_pass_both_ways_and_no_secret_comes_back() {
    everywhere(|place, tier| {
        let (server, _) = server();
        let text = run(
            place,
            tier,
            &server,
            r#"
f = old(extra="Sec-WebSocket-Protocol: chat, other\r\nAuthorization: Bearer " + os.environ["API_KEY"] + "\r\n"); talk(f)
f.write(pack(8, struct.pack(">H", 1000))); print(f.message())
"#,
        );
        let expected = format!(
            "101 ['sec-websocket-protocol: chat'] True\nhello\npong here?\none two\n{MASKED}\nTrue\nclosed 1000\n"
        );
        assert_eq!(text, expected);
        let seen = server.got();
        assert_eq!(
            seen[0].header("authorization"),
            Some(format!("Bearer {KEY}").as_str())
        );
        assert_eq!(seen[0].header("sec-websocket-extensions"), None);
        let log = out(&place.qila(&["log", "latest"]).output().unwrap());
        assert!(log.contains("GET") && log.contains("/v1/ws"), "{log}");
    });
}

#[test]
fn over_http2_it_is_the_same() {
    everywhere(|place, tier| {
        let (server, _) = server();
        let text = run(
            place,
            tier,
            &server,
            "f = new(); talk(f)\nf.write(pack(8, struct.pack('>H', 1000))); print(f.message())",
        );
        let expected = format!("head 200\nhello\npong here?\none two\n{MASKED}\nTrue\nclosed 1000\n");
        assert_eq!(text, expected);
    });
}

#[test]
fn what_a_rule_does_not_allow_is_refused_in_handshakes_and_messages() {
    everywhere(|place, tier| {
        let (server, heard) = server();
        let text = run(
            place,
            tier,
            &server,
            r#"
old("/admin"); old("/v1/no")
f = old(); f.write(pack(1, b"say " + os.environ["API_KEY"][:20].encode(), fin=False) + pack(0, os.environ["API_KEY"][20:].encode())); print(f.message())
for wrong in (pack(1, b"unmasked", masked=False), bytes([0xc1, 0x80, 0, 0, 0, 0]), pack(1, b"\xff\xfe"), pack(0, b"of nothing"), pack(9, b"x" * 125, fin=False)):
    f = old(); f.write(wrong); print(f.message())
"#,
        );
        let expected = "403 [] False\n426 [] False\n101 [] True\nclosed 1008\n101 [] True\nclosed 1002\n101 [] True\nclosed 1002\n\
            101 [] True\nclosed 1007\n101 [] True\nclosed 1002\n101 [] True\nclosed 1002\n";
        assert_eq!(text, expected);
        let heard = String::from_utf8_lossy(&heard.lock().unwrap()).into_owned();
        assert!(
            !heard.contains("unmasked") && !heard.contains("of nothing"),
            "{heard}"
        );
        assert_eq!(server.got().iter().filter(|g| g.path() == "/admin").count(), 0);
        let log = out(&place.qila(&["log", "latest"]).output().unwrap());
        assert!(log.contains("a placeholder in a WebSocket message"), "{log}");
    });
}
