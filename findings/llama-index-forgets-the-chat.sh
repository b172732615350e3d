#!/usr/bin/env bash
# Guess: a chat by LlamaIndex' OpenAILike, the class for a server of one's own, sends the conversation until the server's window is full,
#   and leaves the sampling to the server.
# Reality: `context_window` is 3900 unless given, whatever the server has, and the chat engine lives by it: after 3 exchanges of 600 tokens
#   it drops everything said before, without a warning, and again and again. `temperature: 0.1` is in each request, unasked.
# Versions: llama-index-llms-openai-like 0.8.1, llama-index-core 0.14.25 (PyPI); a stub server on this machine's loopback.
# For a server author: "it forgets what I said" with free context is the client; a model's own recommended sampling never applies.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check llama-index-llms-openai-like==0.8.1 llama-index-core==0.14.25
cat > t.py <<'PY'
import json, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.llms.openai_like import OpenAILike

print({name: version(name) for name in ("llama-index-llms-openai-like", "llama-index-core")})
asked = []

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        choices = [{"index": 0, "message": {"role": "assistant", "content": "word " * 300}, "finish_reason": "stop"}]
        usage = {"prompt_tokens": 1, "completion_tokens": 300, "total_tokens": 301}
        data = json.dumps({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": choices, "usage": usage}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def log_message(self, *_): pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()

def messages(**settings):
    asked.clear()
    url = f"http://127.0.0.1:{server.server_port}/v1"
    engine = SimpleChatEngine.from_defaults(llm=OpenAILike(model="m", api_base=url, api_key="none", is_chat_model=True, **settings))
    for turn in range(8):
        engine.chat(f"Question {turn}: " + "word " * 300)
    seen = [len(request["messages"]) for request in asked]
    print(f"{settings}: messages in each request {seen}, temperature {asked[0].get('temperature')}")
    return seen

assert messages() == [1, 3, 5, 7, 1, 3, 5, 7]
assert asked[-1]["messages"][0]["content"].startswith("Question 4")
assert {request.get("temperature") for request in asked} == {0.1}
assert messages(context_window=131072) == [1, 3, 5, 7, 9, 11, 13, 15]
PY
v/bin/python t.py
