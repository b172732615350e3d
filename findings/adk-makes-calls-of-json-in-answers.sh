#!/usr/bin/env bash
# Guess: through Google's ADK and LiteLLM an answer that is text stays text. A tool call is what the protocol calls one.
# Reality: any JSON object in a text answer that has a `name` and `arguments` is taken out and becomes a function call, whether the request had tools or not. An
#   agent that is asked to describe a command, an MCP call or a function in JSON answers with nothing. In prose the object is missing from the middle. `{"name":
#   …, "args": …}` stays text. OpenAI's Agents SDK leaves all of them alone.
# Versions: google-adk 2.13.0, litellm 1.110.2, openai-agents 0.24.0 (PyPI); a stub server on this machine's loopback is the model.
# For a server author: the answer was sent whole. A response format with those two fields cannot be used there.
# Grounds: deep
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check google-adk==2.13.0 litellm==1.110.2 openai-agents==0.24.0
cat > t.py <<'PY'
import asyncio, json, os, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
os.environ.update(LITELLM_LOCAL_MODEL_COST_MAP="True", OPENAI_AGENTS_DISABLE_TRACING="1")
from agents import Agent, OpenAIChatCompletionsModel, Runner
from google.adk.models.lite_llm import LiteLlm
from google.adk.models.llm_request import LlmRequest
from google.genai import types
from openai import AsyncOpenAI

print({name: version(name) for name in ("google-adk", "litellm", "openai-agents")})
asked = []

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        asked.append(body)
        content = body["messages"][-1]["content"]
        text = content if isinstance(content, str) else "".join(part["text"] for part in content)
        head, usage = {"id": "c", "created": 1, "model": "m"}, {"prompt_tokens": 7, "completion_tokens": 9, "total_tokens": 16}
        if body.get("stream"):
            pieces = [text[at:at + 4] for at in range(0, len(text), 4)]
            chunks = [{**head, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]} for piece in pieces]
            chunks.append({**head, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
            chunks.append({**head, "object": "chat.completion.chunk", "choices": [], "usage": usage})
            data, kind = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n", "text/event-stream"
        else:
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            data, kind = json.dumps({**head, "object": "chat.completion", "choices": [choice], "usage": usage}), "application/json"
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data.encode())
    def log_message(self, *_): pass

# The stub answers with the question.
server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
base = f"http://127.0.0.1:{server.server_port}/v1"

async def adk(text, stream):
    model = LiteLlm(model="openai/m", api_base=base, api_key="none")
    request = LlmRequest(contents=[types.Content(role="user", parts=[types.Part(text=text)])], config=types.GenerateContentConfig())
    responses = [response async for response in model.generate_content_async(request, stream=stream)]
    parts = responses[-1].content.parts
    return "".join(part.text or "" for part in parts), [(part.function_call.name, part.function_call.args) for part in parts if part.function_call]

async def agents(text):
    agent = Agent(name="a", model=OpenAIChatCompletionsModel("m", AsyncOpenAI(base_url=base, api_key="none")))
    return (await Runner.run(agent, text)).final_output

command = {"name": "backup", "arguments": {"folder": "/home", "keep": 7}}
plain, prose = json.dumps(command), f"The entry is {json.dumps(command)} in the file."
for text, expected in [(plain, ("", [("backup", command["arguments"])])), (prose, ("The entry is  in the file.", [("backup", command["arguments"])])),
                       ('{"name": "backup", "args": {}}', ('{"name": "backup", "args": {}}', []))]:
    print("answered:", text)
    for stream in (False, True):
        seen = asyncio.run(adk(text, stream))
        print("  ADK,", "streamed:" if stream else "whole:", seen)
        assert seen == expected, seen
    kept = asyncio.run(agents(text))
    assert kept == text, kept
assert not any(body.get("tools") for body in asked)
PY
v/bin/python t.py
