"""The Anthropic SDK: messages, whole and streamed, with tools."""
import anthropic, os
from common import *

TOOL = {"name": "lookup", "description": "Looks a word up.", "input_schema": {"type": "object", "properties": {"word": {"type": "string"}}}}


def run(op):
    c = anthropic.Anthropic(api_key=os.environ[op["secret"]], base_url=op["base"], max_retries=0, timeout=TIMEOUT,
                            default_headers={"x-case": op["case"]})
    kind = op["feature"]
    extra = {"tools": [TOOL]} if "tools" in kind else {}
    ask = {"model": op["model"], "max_tokens": 50, "messages": [{"role": "user", "content": "hello"}], **extra}
    try:
        text = ""
        if "stream" in kind:
            with c.messages.stream(**ask) as s:
                for piece in s.text_stream:
                    text += piece
                r = s.get_final_message()
        else:
            r = c.messages.create(**ask)
            text = "".join(b.text for b in r.content if b.type == "text")
        calls = [json.dumps(b.input) for b in r.content if b.type == "tool_use"]
        tell(op["case"], status=200, body=text, calls=calls, used=[r.usage.input_tokens, r.usage.output_tokens])
    except anthropic.APIStatusError as e:
        tell(op["case"], status=e.status_code, body=e.response.text, headers=e.response.headers, error=str(e))


each(run)
