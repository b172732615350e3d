#!/usr/bin/env bash
# Guess: ChatAnthropic without `max_tokens` sends one default for every model, as each version of it did, or asks for the setting.
# Reality: it looks the name up in a table of Claude models that it carries, and sends what that model can write at most: 128,000 for
#   Claude Opus 5.5, 64,000 for Claude Haiku 4.5. Any other name gets 4096. So the same server answers in full under an alias and is cut
#   at 4096 tokens under the model's own name; only `stop_reason` says so.
# Versions: langchain-anthropic 1.7.10, langchain-core 1.8.3, anthropic 2.14.0 (PyPI); a stub server on this machine's loopback.
# For a server author: `max_tokens` says nothing about the user's wish. Cut it to the context instead of refusing it, and reserve no
#   memory by it.
# Grounds: costly
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check langchain-anthropic==1.7.10 langchain-core==1.8.3 anthropic==2.14.0
cat > t.py <<'PY'
import json, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
from langchain_anthropic import ChatAnthropic

print({name: version(name) for name in ("langchain-anthropic", "langchain-core", "anthropic")})
asked = {}

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        global asked
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        body = json.dumps({"id": "m", "type": "message", "role": "assistant", "model": asked["model"], "stop_sequence": None,
                           "content": [{"type": "text", "text": "cut"}], "stop_reason": "max_tokens",
                           "usage": {"input_tokens": 1, "output_tokens": 1}}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass

server = HTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
for name, expected in [("claude-opus-5-5", 128_000), ("claude-haiku-4-5", 64_000), ("claude-opus-5-5-local", 4096), ("Qwen3-4B-4bit", 4096)]:
    model = ChatAnthropic(model=name, base_url=f"http://127.0.0.1:{server.server_port}", api_key="none", max_retries=0)
    answer = model.invoke("Write a long story.")
    print(f"{name}: max_tokens {asked['max_tokens']}, the answer ends by {answer.response_metadata['stop_reason']}, no error")
    assert asked["max_tokens"] == expected, (name, asked)
PY
v/bin/python t.py
