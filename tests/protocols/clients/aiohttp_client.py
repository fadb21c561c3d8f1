"""aiohttp: requests and WebSocket."""
import aiohttp, asyncio, ssl
from common import *


async def chunks(op):
    for part in upload(op):
        yield part


async def http(s, op, tls):
    feature, headers, extra = op["feature"], fields(op), {}
    if feature == "upload":
        extra["data"] = chunks(op)
    elif op.get("size"):
        extra["data"] = b"p" * op["size"]
        extra["expect100"] = feature in ("expect", "refuse")
    elif op.get("send"):
        extra["data"] = op["send"].encode()
        headers["content-type"] = "application/json"
    if feature == "range":
        headers["range"] = "bytes=100-199"
    if feature in ("gzip", "br", "zstd"):
        headers["accept-encoding"] = feature
    async with s.request(op["method"], url(op), headers=headers, ssl=tls, allow_redirects=feature == "redirect", **extra) as r:
        seen = []
        if feature == "sse" and r.status == 200:
            async for line in r.content:
                if line.startswith(b"id: "):
                    seen.append(int(line[4:]))
                    ack = url(op, f"/ack?id={op['id']}&n={seen[-1]}", False)
                    async with s.post(ack, headers=headers, ssl=tls) as a:
                        await a.read()
        body = b"" if seen else await r.read()
        tell(op["case"], status=r.status, version=f"{r.version.major}.{r.version.minor}", headers=r.headers, body=body, events=seen)


async def websocket(s, op, tls):
    address = url(op).replace("https:", "wss:").replace("http:", "ws:")
    async with s.ws_connect(address, headers=fields(op), ssl=tls, timeout=aiohttp.ClientWSTimeout(ws_close=5)) as ws:
        got = []
        for message in op["messages"]:
            await ws.send_str(message)
            got.append(await ws.receive_str(timeout=8))
        await ws.send_bytes(bytes(range(256)) * 300)
        binary = await ws.receive_bytes(timeout=8)
        await ws.close()
        tell(op["case"], status=101, version="1.1", messages=got, binary=len(binary), closed=ws.close_code)


async def one(op):
    tls = (ssl.create_default_context(cafile=op["ca"]) if op.get("ca") else True) if op["base"].startswith("https") else True
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT), trust_env=False) as s:
        try:
            await (websocket if op["feature"] == "websocket" else http)(s, op, tls)
        except aiohttp.WSServerHandshakeError as e:
            tell(op["case"], status=e.status, headers=e.headers, error=str(e))


each(lambda op: asyncio.run(one(op)))
