"""The OpenAI SDK: chat and responses, whole and streamed, with tools."""
import openai, os
from common import *

TOOL = {"name": "lookup", "description": "Looks a word up.", "parameters": {"type": "object", "properties": {"word": {"type": "string"}}}}


def run(op):
    c = openai.OpenAI(api_key=os.environ[op["secret"]], base_url=op["base"] + "/v1", max_retries=0, timeout=TIMEOUT,
                      default_headers={"x-case": op["case"]})
    kind, stream, text, calls = op["feature"], "stream" in op["feature"], "", []
    try:
        if kind.startswith("chat"):
            extra = {"tools": [{"type": "function", "function": TOOL}]} if "tools" in kind else {}
            if stream:
                extra["stream_options"] = {"include_usage": True}
            r = c.chat.completions.create(model=op["model"], messages=[{"role": "user", "content": "hello"}], stream=stream,
                                          max_tokens=50, **extra)
            if stream:
                used = None
                for chunk in r:
                    used = chunk.usage or used
                    for choice in chunk.choices:
                        text += choice.delta.content or ""
                        calls += [t.function.arguments for t in choice.delta.tool_calls or []]
            else:
                text, used = r.choices[0].message.content, r.usage
                calls = [t.function.arguments for t in r.choices[0].message.tool_calls or []]
            used = [used.prompt_tokens, used.completion_tokens]
        else:
            extra = {"tools": [{"type": "function", **TOOL}]} if "tools" in kind else {}
            r = c.responses.create(model=op["model"], input="hello", stream=stream, max_output_tokens=50, **extra)
            if stream:
                for event in r:
                    if event.type == "response.output_text.delta":
                        text += event.delta
                    if event.type == "response.completed":
                        r = event.response
            else:
                text = r.output_text
            calls = [i.arguments for i in r.output if i.type == "function_call"]
            used = [r.usage.input_tokens, r.usage.output_tokens]
        tell(op["case"], status=200, body=text, calls=calls, used=used)
    except openai.APIStatusError as e:
        tell(op["case"], status=e.status_code, body=e.response.text, headers=e.response.headers, error=str(e))


each(run)
