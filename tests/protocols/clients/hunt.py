"""Many exchanges in which the server says the secret in every way, and in which this side sends its placeholder everywhere.
Every byte that came back goes out, to be searched outside: {"n", "raw"} in base64, the decoded body too.
argv: seed, how many, at once, ports as JSON."""
import base64, json, os, random, socket, ssl, sys, threading

import h2.exceptions

SEED, COUNT, AT_ONCE, WORDS = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4])
MINE = os.environ["QILA_MATRIX_KEY"]
lock, tls = threading.Lock(), ssl.create_default_context()
tls2 = ssl.create_default_context()
tls2.set_alpn_protocols(["h2"])


def out(n, what, raw, body=b""):
    line = json.dumps({"n": n, "what": what, "raw": base64.b64encode(raw).decode(), "body": base64.b64encode(body).decode()})
    with lock:
        os.write(1, line.encode() + b"\n")


class One:
    """HTTP/1.1 by hand: every byte is seen as it came."""

    def __init__(self):
        self.kept = {}

    def connect(self, host, port):
        s = socket.create_connection((host, port), 10)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return tls.wrap_socket(s, server_hostname=host) if port == 443 else s

    def ask(self, host, port, head, body):
        """Sends; everything that comes back until the answer is complete."""
        s = self.kept.pop((host, port), None)
        fresh = s is None
        raw = b""
        try:
            s = s or self.connect(host, port)
            s.sendall(head)
            for part in body:
                s.sendall(part)
            raw, keep = read(s)
            if keep:
                self.kept[(host, port)] = s
            else:
                s.close()
        except OSError as e:
            raw += str(e).encode()
            if not fresh and raw == str(e).encode():
                return self.ask(host, port, head, body)
        return raw


def read(s):
    raw = b""
    while b"\r\n\r\n" not in raw:
        d = s.recv(65536)
        if not d:
            return raw, False
        raw += d
    head, _, rest = raw.partition(b"\r\n\r\n")
    if head.split(b" ")[1:2] == [b"103"]:
        return raw, False
    low = head.lower()
    if b"transfer-encoding: chunked" in low:
        while not (rest.endswith(b"\r\n\r\n") and (b"\r\n0\r\n" in rest or rest.startswith(b"0\r\n"))):
            d = s.recv(65536)
            if not d:
                return head + b"\r\n\r\n" + rest, False
            rest += d
    else:
        want = next((int(l.split(b":")[1]) for l in low.split(b"\r\n") if l.startswith(b"content-length:")), None)
        while want is None or len(rest) < want:
            d = s.recv(65536)
            if not d:
                return head + b"\r\n\r\n" + rest, False
            rest += d
    return head + b"\r\n\r\n" + rest, b"connection: close" not in low


def body_of(raw):
    head, _, rest = raw.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" not in head.lower():
        return rest
    whole = b""
    while rest:
        line, _, rest = rest.partition(b"\r\n")
        try:
            size = int(line.split(b";")[0], 16)
        except ValueError:
            break
        if not size:
            break
        whole, rest = whole + rest[:size], rest[size + 2:]
    return whole


class Two:
    """HTTP/2 with the h2 library, to one host."""

    def __init__(self):
        self.s = None

    def ask(self, host, path, headers, body=b""):
        import h2.connection, h2.config, h2.events
        seen, got = b"", b""
        try:
            if self.s is None:
                s = socket.create_connection((host, 443), 10)
                self.s = tls2.wrap_socket(s, server_hostname=host)
                self.c = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None, validate_outbound_headers=False))
                self.c.initiate_connection()
            c, stream = self.c, self.c.get_next_available_stream_id()
            method = "POST" if body else "GET"
            c.send_headers(stream, [(":method", method), (":scheme", "https"), (":authority", host), (":path", path)] + headers, end_stream=not body)
            if body:
                c.send_data(stream, body[:9])
                c.send_data(stream, body[9:], end_stream=True)
            self.s.sendall(c.data_to_send())
            while True:
                d = self.s.recv(65536)
                if not d:
                    self.s = None
                    return seen, got
                for e in c.receive_data(d):
                    for name, value in getattr(e, "headers", None) or []:
                        seen += name + b": " + value + b"\n"
                    if isinstance(e, h2.events.DataReceived):
                        got += e.data
                        c.acknowledge_received_data(e.flow_controlled_length, stream)
                    if isinstance(e, h2.events.StreamReset):
                        seen += b"reset"
                    if isinstance(e, h2.events.ConnectionTerminated):
                        self.s = None
                        return seen + b"gone", got
                    if isinstance(e, (h2.events.StreamEnded, h2.events.StreamReset)) and e.stream_id == stream:
                        self.s.sendall(c.data_to_send())
                        return seen, got
                self.s.sendall(c.data_to_send())
        except (OSError, h2.exceptions.H2Error) as e:
            self.s = None
            return seen + str(e).encode(), got


def astray_two(r, lines):
    """The placeholder over HTTP/2 where it may have no business."""
    host = r.choice(["key.test", "rule.test", "other.test"])
    mine, at = spelled(r, MINE), r.choice(["bearer", "header", "query", "path", "body", "denied", "twice", "crumbs"])
    headers, path, body = [("x-case", "hunt")], "/echo", b""
    if at == "bearer" or at == "denied" or at == "twice":
        headers += [("authorization", "Bearer " + MINE)] * (2 if at == "twice" else 1)
        path = "/denied/echo" if at == "denied" else path
    elif at == "header":
        headers.append(("x-some", mine))
    elif at == "query":
        path += "?k=" + mine
    elif at == "path":
        path += "/" + mine
    elif at == "crumbs":
        headers += [("cookie", "a=" + mine[:9]), ("cookie", mine[9:])]
    else:
        body = json.dumps({"k": mine}).encode()
    seen, got = lines.setdefault(host, Two()).ask(host, path, headers, body)
    return f"astray-h2 {at} {host}", seen, got


def spelled(r, text):
    return r.choice([text, base64.b64encode(text.encode()).decode(), "".join(f"%{b:02X}" for b in text.encode()), text.encode().hex(),
                     base64.b64encode(f"u:{text}".encode()).decode()])


def astray(r):
    """A request with the placeholder in a place that may be wrong: (what, host, port, head, body parts)."""
    host, port = r.choice(WORDS["hosts"])
    mine, at = spelled(r, MINE), r.choice(["bearer", "header", "query", "path", "body", "chunked", "cookie", "basic", "host", "twice", "method"])
    method, path, more, body = "POST", "/echo", "", b""
    parts = []
    if at == "bearer":
        more = f"authorization: Bearer {MINE}\r\n"
    elif at == "header":
        more = f"x-some: {mine}\r\n"
    elif at == "query":
        path += f"?k={mine}"
    elif at == "path":
        path += "/" + mine
    elif at == "cookie":
        more = f"cookie: a={mine}\r\n"
    elif at == "basic":
        more = "authorization: Basic " + base64.b64encode(f"me:{MINE}".encode()).decode() + "\r\n"
    elif at == "host":
        more = f"x-forwarded-host: {mine}\r\n"
    elif at == "twice":
        more = f"authorization: Bearer {MINE}\r\nauthorization: Bearer {MINE}\r\n"
    elif at == "method":
        path, more = "/denied/echo", f"authorization: Bearer {MINE}\r\n"
    if at == "chunked":
        more = "transfer-encoding: chunked\r\n"
        text, cut = mine.encode(), r.randrange(1, len(mine) - 1)
        parts = [b"%x\r\n%s\r\n" % (len(p), p) for p in (text[:cut], text[cut:])] + [b"0\r\n\r\n"]
    else:
        if at == "body":
            body = json.dumps({"k": mine}).encode()
        more += f"content-length: {len(body)}\r\n"
        parts = [body] if body else []
    head = f"{method} {path} HTTP/1.1\r\nhost: {host}\r\nx-case: hunt\r\n{more}\r\n".encode()
    return f"astray {at} {host}:{port}", host, port, head, parts


def websocket(one, r, encoding):
    """One message, said in fragments."""
    raw = b""
    try:
        s = one.connect("key.test", 443)
        s.sendall(f"GET /ws HTTP/1.1\r\nhost: key.test\r\nx-case: hunt\r\nauthorization: Bearer {MINE}\r\nupgrade: websocket\r\n"
                  "connection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode())
        while b"\r\n\r\n" not in raw:
            d = s.recv(65536)
            if not d:
                return raw, b""
            raw += d
        head, _, rest = raw.partition(b"\r\n\r\n")
        if b" 101 " not in head.split(b"\r\n")[0] + b" ":
            return raw, b""
        said = f"leak {encoding}".encode()
        s.sendall(bytes([0x81, 0x80 | len(said), 0, 0, 0, 0]) + said)
        s.settimeout(5)
        payload, last = b"", False
        while not last:
            while len(rest) < 2 or len(rest) < frame_length(rest):
                d = s.recv(65536)
                if not d:
                    return raw + rest, payload
                rest += d
            start, length = frame_start(rest), frame_length(rest)
            last = bool(rest[0] & 0x80) or (rest[0] & 15) >= 8
            payload, raw, rest = payload + rest[start:length], raw + rest[:length], rest[length:]
        s.close()
        return raw, payload
    except OSError as e:
        return raw + str(e).encode(), b""


def frame_start(b):
    return {126: 4, 127: 10}.get(b[1] & 127, 2)


def frame_length(b):
    n = b[1] & 127
    if n == 126:
        n = int.from_bytes(b[2:4], "big") if len(b) >= 4 else 1 << 30
    elif n == 127:
        n = int.from_bytes(b[2:10], "big") if len(b) >= 10 else 1 << 30
    return frame_start(b) + n


def work(index):
    one, two, lines = One(), Two(), {}
    for n in range(index, COUNT, AT_ONCE):
        r = random.Random(SEED * 1_000_003 + n)
        kind = r.randrange(10)
        encoding = r.choice(WORDS["encodings"])
        pad = r.choice([0, 0, 3, 100, 4090, 16380, 65530])
        where = r.choice(WORDS["positions"] + ["gzip", "cut"])
        path = f"/leak?at={where}&as={encoding}&pad={pad}"
        if kind < 4:
            bearer = f"authorization: Bearer {MINE}\r\n" if r.random() < 0.5 else ""
            head = f"GET {path} HTTP/1.1\r\nhost: key.test\r\nx-case: hunt\r\naccept-encoding: gzip\r\n{bearer}\r\n".encode()
            raw = one.ask("key.test", 443, head, [])
            out(n, f"h1 {where} {encoding} {pad}", raw, body_of(raw))
        elif kind < 6:
            seen, body = two.ask("key.test", path, [("x-case", "hunt"), ("authorization", "Bearer " + MINE)])
            out(n, f"h2 {where} {encoding} {pad}", seen, body)
        elif kind == 6:
            lie = r.choice(["reason", "name", "early", "extension"])
            head = f"GET /{lie} HTTP/1.1\r\nhost: lies.test\r\nx-case: hunt\r\n\r\n".encode()
            raw = one.ask("lies.test", 443, head, [])
            out(n, f"liar {lie}", raw, body_of(raw))
        elif kind == 7:
            raw, payload = websocket(one, r, encoding)
            out(n, f"websocket {encoding}", raw, payload)
        elif kind == 8:
            out(n, *astray_two(r, lines))
        else:
            what, host, port, head, parts = astray(r)
            raw = one.ask(host, port, head, parts)
            out(n, what, raw, body_of(raw))


threads = [threading.Thread(target=work, args=(i,)) for i in range(AT_ONCE)]
[t.start() for t in threads]
[t.join() for t in threads]
print(json.dumps({"finished": COUNT}), flush=True)
