//! Frames of HTTP/2 in Python, for what no library would send.

/// A client of frames, each as the attack wants it.
pub const CLIENT: &str = r#"
import os, socket, ssl, struct, sys, time
def connect(protocols=("h2",)):
    context = ssl.create_default_context(); context.set_alpn_protocols(list(protocols))
    s = context.wrap_socket(socket.create_connection(("api.test", 443), 20), server_hostname="api.test")
    s.settimeout(20); return s
def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload
def literal(name, value):
    def text(t): return (bytes([len(t)]) if len(t) < 127 else b"\x7f" + number(len(t) - 127)) + t
    return b"\x00" + text(name) + text(value)
def number(n):
    out = b""
    while n >= 128: out += bytes([n % 128 + 128]); n //= 128
    return out + bytes([n])
HEAD = (literal(b":method", b"GET") + literal(b":scheme", b"https") + literal(b":path", b"/v1/a") + literal(b":authority", b"api.test"))
START = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0)
def ended(s):
    "Reads to the end: the kinds of frames, and the code of the GOAWAY."
    kinds, code, data = [], None, b""
    try:
        while True:
            more = s.recv(65536)
            if not more: break
            data += more
            while len(data) >= 9:
                n = int.from_bytes(data[:3], "big")
                if len(data) < 9 + n: break
                if data[3] == 7: code = int.from_bytes(data[13:17], "big")
                kinds.append(data[3]); data = data[9 + n:]
    except socket.timeout: return kinds, "timeout"
    except OSError: pass
    return kinds, code
def send(s, data):
    try: s.sendall(data); return True
    except OSError: return False
"#;
