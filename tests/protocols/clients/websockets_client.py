"""websockets, its asyncio client. The one with threads reads and writes one TLS socket from two of them; with Python 3.11 it hung
in one connection of a few hundred, its request never on the wire: the kernel had counted no byte of it as sent."""
import asyncio, ssl
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from common import *


async def talk(op):
    extra = {}
    if op.get("ca"):
        extra["ssl"] = ssl.create_default_context(cafile=op["ca"])
    address = url(op).replace("https:", "wss:").replace("http:", "ws:")
    answer = lambda ws: asyncio.wait_for(ws.recv(), 8)
    try:
        async with connect(address, additional_headers=fields(op), open_timeout=TIMEOUT, close_timeout=5, proxy=None, **extra) as ws:
            got = []
            for message in op["messages"]:
                await ws.send(message)
                got.append(await answer(ws))
            await ws.send(bytes(range(256)) * 300)
            binary = await answer(ws)
            await ws.send(["in ", "parts"])
            parts = await answer(ws)
            await asyncio.wait_for(await ws.ping(), 5)
            await ws.close()
            tell(op["case"], status=101, version="1.1", messages=got, binary=len(binary), parts=parts, closed=ws.close_code)
    except InvalidStatus as e:
        tell(op["case"], status=e.response.status_code, headers=e.response.headers, body=e.response.body or b"", error=str(e))


each(lambda op: asyncio.run(talk(op)))
