#!/usr/bin/env bash
# Guess: the SDKs of companies with OpenAI's protocol take the base URL that OpenAI's own SDK takes, with /v1.
# Reality: four of them add /v1 themselves, and Groq's adds /openai/v1. With /v1 in the base URL each request goes to /v1/v1/chat/completions or
#   /v1/openai/v1/chat/completions. Without it the four are right, and Groq's is not. Cerebras' asks /v1/tcp_warming as soon as the client is made,
#   its asynchronous client too, by a blocking request.
# Versions: groq 1.7.0, cerebras-cloud-sdk 1.91.0, together 3.1.1, fireworks-ai 1.2.30, mistralai 3.7.0, openai 3.57.0 (PyPI); a stub server on this
#   machine's loopback answers every path.
# For a server author: state the URL for each of them; "use any OpenAI-compatible client with /v1" ends in 404. One more 404, for /v1/tcp_warming, is no
#   mistake of the user.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check groq==1.7.0 cerebras-cloud-sdk==1.91.0 together==3.1.1 fireworks-ai==1.2.30 mistralai==3.7.0 openai==3.57.0
cat > t.py <<'PY'
import json, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
from cerebras.cloud.sdk import AsyncCerebras, Cerebras
from fireworks import Fireworks
from groq import Groq
from mistralai.client import Mistral
from openai import OpenAI
from together import Together

names = ("groq", "cerebras-cloud-sdk", "together", "fireworks-ai", "mistralai", "openai")
print({name: version(name) for name in names})
asked = []

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        asked.append(self.path)
        self.rfile.read(int(self.headers.get("content-length") or 0))
        choice = {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}
        body = json.dumps({"id": "c", "object": "chat.completion", "created": 1, "model": "local", "choices": [choice],
                           "usage": {"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8}}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_GET = do_POST
    def log_message(self, *_): pass

server = HTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
chat = {"model": "local", "messages": [{"role": "user", "content": "Hi"}]}

def paths(make, base):
    asked.clear()
    client = make(base)
    (client.chat.complete if isinstance(client, Mistral) else client.chat.completions.create)(**chat)
    return list(asked)

def clients(kind):
    return lambda base: kind(base_url=base, api_key="none")

for name, make, before, right, wrong in [
    ("openai", clients(OpenAI), [], "/chat/completions", "/v1/chat/completions"),
    ("together", clients(Together), [], "/v1/chat/completions", "/v1/v1/chat/completions"),
    ("fireworks-ai", clients(Fireworks), [], "/v1/chat/completions", "/v1/v1/chat/completions"),
    ("mistralai", lambda base: Mistral(server_url=base, api_key="none"), [], "/v1/chat/completions", "/v1/v1/chat/completions"),
    ("cerebras-cloud-sdk", clients(Cerebras), ["/v1/tcp_warming"], "/v1/chat/completions", "/v1/v1/chat/completions"),
    ("groq", clients(Groq), [], "/openai/v1/chat/completions", "/v1/openai/v1/chat/completions"),
]:
    host = f"http://127.0.0.1:{server.server_port}"
    bare, with_version = paths(make, host), paths(make, host + "/v1")
    print(f"{name}: HOST {bare}, HOST/v1 {with_version}")
    assert bare == [*before, right], bare
    assert with_version == [*("/v1" + path for path in before), wrong], with_version
asked.clear()
AsyncCerebras(base_url=host, api_key="none")
print("AsyncCerebras, made and not used:", asked)
assert asked == ["/v1/tcp_warming"]
PY
v/bin/python t.py
