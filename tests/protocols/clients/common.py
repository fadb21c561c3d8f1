"""What the Python clients share: cases from standard input, a line of JSON out for each."""
import json, os, sys, time, traceback

TIMEOUT = 8
BODY = 4096


def cases():
    return json.load(sys.stdin)


def url(op, path=None, query=True):
    text = op["base"] + op["prefix"] + (path or op["path"])
    if query and op.get("query"):
        text += ("&" if "?" in text else "?") + op["query"]
    return text


def fields(op):
    out = {"x-case": op["case"]}
    out.update(op.get("headers") or {})
    if op.get("key"):
        out["authorization"] = "Bearer " + os.environ[op["key"]]
    if op["feature"] == "trailers":
        out["te"] = "trailers"
    if op["feature"] == "large":
        out.update({f"x-big-{n}": "b" * 900 for n in range(8)})
    return out


def upload(op):
    return (b"p" * 1000 for _ in range(op.get("size", 0) // 1000)) if op.get("size") else None


def tell(case, **what):
    if isinstance(what.get("body"), (bytes, bytearray)):
        what["body"] = what["body"].decode("utf-8", "replace")
    if isinstance(what.get("body"), str):
        what["body"] = what["body"][:BODY]
    if what.get("headers") is not None:
        what["headers"] = {str(k).lower(): str(v) for k, v in dict(what["headers"]).items()}
    print(json.dumps({"case": case, **what}), flush=True)


def each(run):
    for op in cases():
        try:
            run(op)
        except Exception as error:  # noqa: BLE001: whatever a client throws is what it shows
            chain, cause = [], error
            while cause is not None and len(chain) < 5:
                chain.append(f"{type(cause).__name__}: {cause}")
                cause = cause.__cause__ or cause.__context__
            tell(op["case"], error=" <- ".join(chain)[:1500])
