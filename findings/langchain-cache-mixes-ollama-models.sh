#!/usr/bin/env bash
# Guess: LangChain's model cache (`set_llm_cache`) keeps two models apart: its key holds the model's name, its settings and its server, as it
#   does for ChatOpenAI.
# Reality: ChatOllama puts none of them into the key. The answer of one model is returned as another's, whatever `model`, `base_url`,
#   `temperature`, `num_ctx` or `format` say, with no request to the server. Only what `bind` or the call adds counts.
# Versions: langchain-ollama 1.1.0, langchain-openai 1.7.4, langchain-core 1.8.3 (PyPI); a stub server on this machine's loopback.
# For a server author: a comparison of two local models through this client may compare one with itself. A missing line in the server's log is
#   the only trace.
# Grounds: costly
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check langchain-ollama==1.1.0 langchain-openai==1.7.4 langchain-core==1.8.3
cat > t.py <<'PY'
import json, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
from langchain_core.caches import InMemoryCache
from langchain_core.globals import set_llm_cache
from langchain_ollama import ChatOllama
from langchain_openai import ChatOpenAI

print({name: version(name) for name in ("langchain-ollama", "langchain-openai", "langchain-core")})
asked = []

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        asked.append(body)
        message = {"role": "assistant", "content": "answer of " + body["model"]}
        if self.path == "/api/chat":
            answer = {"model": body["model"], "created_at": "2026-01-01T00:00:00Z", "message": message, "done": True, "done_reason": "stop",
                      "prompt_eval_count": 1, "eval_count": 1}
        else:
            answer = {"id": "c", "object": "chat.completion", "created": 1, "model": body["model"],
                      "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                      "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}
        data = (json.dumps(answer) + "\n").encode()
        self.send_response(200)
        self.send_header("content-type", "application/x-ndjson" if self.path == "/api/chat" else "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def log_message(self, *_): pass

servers = [HTTPServer(("127.0.0.1", 0), Stub) for _ in range(2)]
for server in servers:
    threading.Thread(target=server.serve_forever, daemon=True).start()
first, second = (f"http://127.0.0.1:{server.server_port}" for server in servers)
def ask(model, **more):
    before = len(asked)
    text = model.invoke("Who are you?", **more).content
    return text, len(asked) - before

set_llm_cache(InMemoryCache())
for name, base, settings, requests in [
    ("qwen", first, {}, 1), ("llama", first, {}, 0), ("qwen", second, {}, 0), ("qwen", first, {"temperature": 1.5}, 0),
    ("qwen", first, {"num_ctx": 65536}, 0), ("qwen", first, {"format": "json"}, 0),
]:
    seen = ask(ChatOllama(model=name, base_url=base, **settings))
    print(f"ChatOllama, {name}, server {1 + (base == second)}, {settings}: {seen[0]!r}, requests {seen[1]}")
    assert seen == ("answer of qwen", requests), seen
bound = ask(ChatOllama(model="llama", base_url=first).bind(format="json"))
print(f"ChatOllama, llama, bind(format='json'): {bound[0]!r}, requests {bound[1]}")
assert bound == ("answer of llama", 1), bound
for name in ("qwen", "llama"):
    seen = ask(ChatOpenAI(model=name, base_url=first, api_key="none"))
    print(f"ChatOpenAI, {name}: {seen[0]!r}, requests {seen[1]}")
    assert seen == (f"answer of {name}", 1), seen
PY
v/bin/python t.py
