"""requests, upon urllib3."""
import requests
from common import *


def run(op):
    feature, headers = op["feature"], fields(op)
    with requests.Session() as s:
        s.trust_env = True
        extra = {"verify": op["ca"]} if op.get("ca") else {}
        data = None
        if feature == "upload":
            data = upload(op)
        elif op.get("size"):
            data = b"p" * op["size"]
        elif op.get("send"):
            data = op["send"].encode()
            headers["content-type"] = "application/json"
        if feature == "range":
            headers["range"] = "bytes=100-199"
        if feature in ("gzip", "br", "zstd"):
            headers["accept-encoding"] = feature
        r = s.request(op["method"], url(op), headers=headers, data=data, timeout=TIMEOUT, stream=feature == "sse",
                      allow_redirects=feature == "redirect", **extra)
        seen = []
        if feature == "sse" and r.status_code == 200:
            for line in r.iter_lines(chunk_size=1):
                if line.startswith(b"id: "):
                    seen.append(int(line[4:]))
                    requests.post(url(op, f"/ack?id={op['id']}&n={seen[-1]}", False), headers=headers, timeout=TIMEOUT, **extra)
        version = {10: "1.0", 11: "1.1", 20: "2"}.get(r.raw.version, "")
        tell(op["case"], status=r.status_code, version=version, headers=r.headers, body=b"" if seen else r.content, events=seen)


each(run)
