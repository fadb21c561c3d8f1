"""The MCP SDK's client over streamable HTTP."""
import asyncio, mcp_types as types, httpx2
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from common import *


async def one(op):
    asked, notices = [], []

    async def sample(_context, params):
        asked.append(params.messages[0].content.text)
        return types.CreateMessageResult(role="assistant", content=types.TextContent(type="text", text="an answer"), model="m")

    async def hear(message):
        notices.append(type(message).__name__)

    async with httpx2.AsyncClient(headers=fields(op), timeout=TIMEOUT) as http:
        transport = streamable_http_client(url(op), http_client=http)
        async with Client(transport, mode="legacy", sampling_callback=sample, message_handler=hear,
                          read_timeout_seconds=8) as c:
            tools = [t.name for t in (await c.list_tools()).tools]
            try:
                result = await c.call_tool(op["tool"], op.get("arguments") or {})
                text = "".join(getattr(b, "text", "") for b in result.content)
                tell(op["case"], status=200, tools=tools, body=text, asked=asked, notices=notices)
            except Exception as e:
                tell(op["case"], tools=tools, asked=asked, notices=notices, error=f"{type(e).__name__}: {e}", begun=True)


def flat(e):
    return " <- ".join(flat(x) for x in e.exceptions) if isinstance(e, BaseExceptionGroup) else f"{type(e).__name__}: {e}"


def run(op):
    try:
        asyncio.run(asyncio.wait_for(one(op), TIMEOUT + 4))
    except BaseExceptionGroup as e:
        tell(op["case"], error=flat(e))


each(run)
