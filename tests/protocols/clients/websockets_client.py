"""websockets."""
import ssl
from websockets.sync.client import connect
from websockets.exceptions import InvalidStatus
from common import *


def run(op):
    extra = {}
    if op.get("ca"):
        extra["ssl"] = ssl.create_default_context(cafile=op["ca"])
    address = url(op).replace("https:", "wss:").replace("http:", "ws:")
    try:
        with connect(address, additional_headers=fields(op), open_timeout=TIMEOUT, close_timeout=5, proxy=None, **extra) as ws:
            got = []
            for message in op["messages"]:
                ws.send(message)
                got.append(ws.recv(timeout=8))
            ws.send(bytes(range(256)) * 300)
            binary = ws.recv(timeout=8)
            ws.send(["in ", "parts"])
            parts = ws.recv(timeout=8)
            ws.ping().wait(5)
            ws.close()
            tell(op["case"], status=101, version="1.1", messages=got, binary=len(binary), parts=parts, closed=ws.close_code)
    except InvalidStatus as e:
        tell(op["case"], status=e.response.status_code, headers=e.response.headers, body=e.response.body or b"", error=str(e))


each(run)
