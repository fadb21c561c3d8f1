"""httpx, over HTTP/1.1 or HTTP/2."""
import httpx, ssl
from common import *


def client(op):
    verify = ssl.create_default_context(cafile=op["ca"]) if op.get("ca") else ssl.create_default_context()
    return httpx.Client(http1=op["version"] == "1.1", http2=op["version"] != "1.1", verify=verify, timeout=TIMEOUT,
                        follow_redirects=op["feature"] == "redirect")


def run(op):
    feature, headers = op["feature"], fields(op)
    with client(op) as c:
        if feature == "sse":
            seen = []
            with c.stream(op["method"], url(op), headers=headers) as r:
                if r.status_code == 200:
                    with client(op) as other:
                        for line in r.iter_lines():
                            if line.startswith("id: "):
                                seen.append(int(line[4:]))
                                other.post(url(op, f"/ack?id={op['id']}&n={seen[-1]}", False), headers=headers)
                body = b"" if seen else r.read()
                return tell(op["case"], status=r.status_code, version=r.http_version.replace("HTTP/", ""), headers=r.headers,
                            events=seen, body=body)
        content = None
        if feature == "upload":
            content = upload(op)
        elif op.get("size"):
            content = b"p" * op["size"]
        elif op.get("send"):
            content = op["send"].encode()
            headers["content-type"] = "application/json"
        if feature == "range":
            headers["range"] = "bytes=100-199"
        if feature in ("gzip", "br", "zstd"):
            headers["accept-encoding"] = feature
        r = c.request(op["method"], url(op), headers=headers, content=content)
        tell(op["case"], status=r.status_code, version=r.http_version.replace("HTTP/", ""), headers=r.headers, body=r.content)


each(run)
