#!/usr/bin/env bash
# Guess: a framework that reports the tokens of a streamed answer asks any OpenAI-compatible server for the counts, or counts itself.
# Reality: OpenAI's Agents SDK and LangChain ask (`stream_options`) only if the address is OpenAI's own; at another one the first reports 0 tokens, the second
#   none. LlamaIndex and Haystack never ask. A server that sends counts only when asked, as OpenAI does, is then free of charge in usage reports, limits and
#   traces. Unstreamed answers are counted by all four.
# Versions: openai-agents 0.24.0, langchain-openai 1.7.4, openai 3.57.0; llama-index-llms-openai-like 0.8.1, llama-index-core 0.14.25, haystack-ai 3.4.1, openai
#   2.54.0 (PyPI); a stub server on this machine's loopback sends counts if asked.
# For a server author: budgets that a framework keeps do not hold for your server. Name `include_usage`, `stream_usage=True` or the like in the instructions, or
#   count on the server.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
for name in first second; do python3 -m venv $name; done
first/bin/pip install -q --disable-pip-version-check openai==3.57.0 openai-agents==0.24.0 langchain-openai==1.7.4
second/bin/pip install -q --disable-pip-version-check openai==2.54.0 llama-index-llms-openai-like==0.8.1 llama-index-core==0.14.25 haystack-ai==3.4.1
cat > t.py <<'PY'
import asyncio, json, os, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
os.environ.update(OPENAI_API_KEY="none", OPENAI_AGENTS_DISABLE_TRACING="1", HAYSTACK_TELEMETRY_ENABLED="False")

names = {"first": ("openai-agents", "langchain-openai", "openai"), "second": ("llama-index-llms-openai-like", "haystack-ai", "openai")}
print({name: version(name) for name in names[sys.argv[1]]})
asked, usage = [], {"prompt_tokens": 700, "completion_tokens": 30, "total_tokens": 730}

def answer(body):
    asked.append(json.loads(body))
    head = {"id": "c", "created": 1, "model": "local"}
    if not asked[-1].get("stream"):
        choice = {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}
        return "application/json", json.dumps({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
    chunks = [{**head, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hello"}, "finish_reason": None}]},
              {**head, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}]
    if (asked[-1].get("stream_options") or {}).get("include_usage"):
        chunks.append({**head, "object": "chat.completion.chunk", "choices": [], "usage": usage})
    return "text/event-stream", "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        kind, body = answer(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())
    def log_message(self, *_): pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
local = f"http://127.0.0.1:{server.server_port}/v1"

def agents(base, stream):
    import httpx2
    from agents import Agent, OpenAIChatCompletionsModel, Runner
    from openai import AsyncOpenAI
    def pretend(request):
        kind, body = answer(request.content)
        return httpx2.Response(200, headers={"content-type": kind}, content=body)
    # OpenAI's own address is answered within this process.
    client = AsyncOpenAI(base_url=base) if base else AsyncOpenAI(http_client=httpx2.AsyncClient(transport=httpx2.MockTransport(pretend)))
    agent = Agent(name="a", model=OpenAIChatCompletionsModel(model="local", openai_client=client))
    async def run():
        if not stream:
            return await Runner.run(agent, "Hi")
        result = Runner.run_streamed(agent, "Hi")
        async for _ in result.stream_events():
            pass
        return result
    return asyncio.run(run()).context_wrapper.usage.total_tokens

def langchain(base, stream):
    from langchain_openai import ChatOpenAI
    model = ChatOpenAI(model="local", base_url=base)
    message = list(model.stream("Hi")) if stream else [model.invoke("Hi")]
    total = sum(message[1:], message[0]) if stream else message[0]
    return total.usage_metadata and total.usage_metadata["total_tokens"]

def llama_index(base, stream):
    from llama_index.core.base.llms.types import ChatMessage
    from llama_index.llms.openai_like import OpenAILike
    model = OpenAILike(model="local", api_base=base, api_key="none", is_chat_model=True, context_window=32000)
    question = [ChatMessage(role="user", content="Hi")]
    replies = list(model.stream_chat(question)) if stream else [model.chat(question)]
    counts = [reply.raw.usage.total_tokens for reply in replies if reply.raw.usage]
    return counts[-1] if counts else None

def haystack(base, stream):
    from haystack.components.generators.chat import OpenAIChatGenerator
    from haystack.dataclasses import ChatMessage
    from haystack.utils import Secret
    generator = OpenAIChatGenerator(model="local", api_base_url=base, api_key=Secret.from_token("none"), streaming_callback=(lambda _: None) if stream else None)
    reply = generator.run([ChatMessage.from_user("Hi")])["replies"][0]
    return (reply.meta.get("usage") or {}).get("total_tokens")

for framework, expected in {"first": [(agents, 0), (langchain, None)], "second": [(llama_index, None), (haystack, None)]}[sys.argv[1]]:
    whole = framework(local, False)
    streamed = framework(local, True)
    options = asked[-1].get("stream_options")
    print(f"  {framework.__name__}: whole {whole}, streamed {streamed}, stream_options {options}")
    assert whole == 730 and streamed == expected and not options, (whole, streamed, options)
if sys.argv[1] == "first":
    from langchain_openai import ChatOpenAI
    own, asks = agents(None, True), [ChatOpenAI(model="m").stream_usage, ChatOpenAI(model="m", base_url=local).stream_usage]
    print("  agents, OpenAI's own address:", own, asked[-1]["stream_options"], "| ChatOpenAI.stream_usage, OpenAI's own and local:", asks)
    assert own == 730 and asked[-1]["stream_options"] == {"include_usage": True} and asks == [True, None]
PY
for name in first second; do
    $name/bin/python t.py $name
done
