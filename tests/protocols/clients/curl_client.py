"""Drives curl: one process for each request."""
import json, os, subprocess, tempfile, threading
from common import *

VERSION = {"1.1": "--http1.1", "2": "--http2", "h2c": "--http2-prior-knowledge"}


def argv(op, path, out, head, query=True):
    words = ["curl", "--silent", "--show-error", "--max-time", str(op.get("timeout", TIMEOUT)), VERSION[op["version"]],
             "--output", out, "--dump-header", head, "--write-out", "%{json}", "--no-buffer"]
    for name, value in fields(op).items():
        words += ["--header", f"{name}: {value}"]
    if op.get("ca"):
        words += ["--cacert", op["ca"]]
    return words + ["--request", op["method"], url(op, path, query)]


def run(op):
    feature = op["feature"]
    with tempfile.TemporaryDirectory() as d:
        out, head = d + "/body", d + "/head"
        words, stdin = argv(op, None, out, head), b""
        if feature in ("upload", "expect", "body", "refuse"):
            stdin = b"p" * op["size"]
            words += ["--data-binary", "@-"]
            if feature == "upload":
                words += ["--header", "transfer-encoding: chunked"] if op["version"] == "1.1" else []
            if feature in ("expect", "refuse"):
                words += ["--header", "expect: 100-continue"]
            else:
                words += ["--header", "expect:"]
        elif op.get("send"):
            words += ["--data-binary", op["send"], "--header", "content-type: application/json"]
        if feature in ("gzip", "br", "zstd"):
            words += ["--compressed"]
        if feature == "range":
            words += ["--range", "100-199"]
        if feature == "redirect":
            words += ["--location"]
        if feature == "sse":
            return events(op, head)
        done = subprocess.run(words, input=stdin, capture_output=True)
        data = open(out, "rb").read() if os.path.exists(out) else b""
        heads = open(head, "rb").read().decode("latin-1") if os.path.exists(head) else ""
        try:
            info = json.loads(done.stdout)
        except ValueError:
            info = {}
        headers = {}
        for line in heads.splitlines():
            name, colon, value = line.partition(":")
            if colon:
                headers[name.strip().lower()] = value.strip()
        error = done.stderr.decode("utf-8", "replace").strip() if done.returncode else None
        tell(op["case"], status=info.get("http_code") or None, version=str(info.get("http_version") or ""), headers=headers,
             body=data, error=error, sent=info.get("size_upload"), continued="100 Continue" in heads or "HTTP/2 100" in heads,
             first=heads.splitlines()[0] if heads else "")


def events(op, head):
    words = argv(op, None, "-", head)
    words.remove("--write-out"), words.remove("%{json}")
    child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    seen, lines = [], []
    for line in child.stdout:
        lines.append(line)
        if line.startswith(b"id: "):
            number = int(line[4:])
            seen.append(number)
            ack = argv(op, "/ack", "/dev/null", "/dev/null", False)
            ack[-1] += f"?id={op['id']}&n={number}" + ("&" + op["extra"] if op.get("extra") else "")
            ack[ack.index("--request") + 1] = "POST"
            subprocess.run(ack, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    error = child.stderr.read().decode()
    code = child.wait()
    first = open(head).readline() if os.path.exists(head) else ""
    words = first.split()
    tell(op["case"], status=int(words[1]) if len(words) > 1 else None,
         version=words[0].replace("HTTP/", "") if words else "", body=b"".join(lines), events=seen, error=error if code else None)


each(run)
