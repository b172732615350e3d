#!/usr/bin/env bash
# Guess: LlamaIndex's class for Ollama passes each tool call of a streamed answer on, as it does with a whole one, and `think=False` turns thinking off.
# Reality: of two streamed calls with one name and equal arguments the second is dropped: roll two dice, read a sensor twice, wait and wait again, and one is
#   carried out. Whole answers keep both. `think=False` in a call is not sent: it is taken for nothing given, so the class's own setting counts, and without one
#   the model thinks by its default. Only `thinking=False` of the class reaches the server.
# Versions: llama-index-llms-ollama 0.11.0, llama-index-core 0.14.25, ollama 0.6.3 (PyPI); a stub server on this machine's loopback sends what Ollama sends.
# For a server author: "the model rolls one die" is not the model. Look at the stream, and at `think` in the request.
# Grounds: far
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check llama-index-llms-ollama==0.11.0 llama-index-core==0.14.25 ollama==0.6.3
cat > t.py <<'PY'
import asyncio, json, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from llama_index.core.base.llms.types import ChatMessage, ToolCallBlock
from llama_index.llms.ollama import Ollama

print({name: version(name) for name in ("llama-index-llms-ollama", "llama-index-core", "ollama")})
asked = []
calls = [{"function": {"index": number, "name": "roll", "arguments": {"sides": 6}}} for number in range(2)]

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        head = {"model": "local", "created_at": "2026-01-01T00:00:00Z"}
        end = {"done": True, "done_reason": "stop", "prompt_eval_count": 7, "eval_count": 3}
        if asked[-1]["stream"]:
            lines = [{**head, "message": {"role": "assistant", "content": "", "tool_calls": [call]}, "done": False} for call in calls]
            lines.append({**head, "message": {"role": "assistant", "content": ""}, **end})
        else:
            lines = [{**head, "message": {"role": "assistant", "content": "", "tool_calls": calls}, **end}]
        body = "".join(json.dumps(line) + "\n" for line in lines).encode()
        self.send_response(200)
        self.send_header("content-type", "application/x-ndjson")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()

def model(**settings):
    return Ollama(model="local", base_url=f"http://127.0.0.1:{server.server_port}", context_window=4096, **settings)

def called(response):
    return [(block.tool_name, block.tool_kwargs) for block in response.message.blocks if isinstance(block, ToolCallBlock)]

async def last(stream):
    async for one in await stream:
        pass
    return one

question, roll = [ChatMessage(role="user", content="Roll two dice.")], ("roll", {"sides": 6})
whole, streamed = called(model().chat(question)), called(list(model().stream_chat(question))[-1])
later = called(asyncio.run(last(model().astream_chat(question))))
print("whole:", whole, "| streamed:", streamed, "| streamed, async:", later)
assert whole == [roll, roll] and streamed == later == [roll]
for settings, think, sent in [({}, True, True), ({}, False, None), ({"thinking": True}, False, True), ({"thinking": False}, None, False)]:
    model(**settings).chat(question, **({} if think is None else {"think": think}))
    print("class:", settings, "call: think =", think, "| sent: think =", asked[-1].get("think"))
    assert asked[-1].get("think") is sent
PY
v/bin/python t.py
