#!/usr/bin/env bash
# Guess: when max_tokens cuts a tool call, the Anthropic SDKs' stream helpers raise, or at least both give the same partial input.
# Reality: neither raises. Both hand out a tool_use block that looks whole, with what cannot be finished left out. For a number they
#   differ: of {"amount": 12345 cut behind the 12, Python gives {"amount": 12} and JavaScript {}. A cut text is dropped by both,
#   a cut key too. Only stop_reason "max_tokens" says that something is wrong.
# Versions: anthropic 2.14.0 (PyPI), @anthropic-ai/sdk 1.14.0 (npm); a stub server on this machine's loopback sends the stream.
# For a server author: a server that passes a cut call on makes clients pay 12 instead of 12345. End such a turn without the
#   call, or make the cut visible; at the least never report "tool_use" for it.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check anthropic==2.14.0
npm install --silent --no-fund --no-audit @anthropic-ai/sdk@1.14.0 > /dev/null
npm ls --depth=0 | grep @anthropic
cat > t.py <<'PY'
import json, subprocess, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
import anthropic

print("anthropic", version("anthropic"))
part = ""

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        message = {"id": "m", "type": "message", "role": "assistant", "content": [], "model": "m", "stop_reason": None,
                   "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 0}}
        block = {"type": "tool_use", "id": "t", "name": "pay", "input": {}}
        events = [("message_start", {"message": message}), ("content_block_start", {"index": 0, "content_block": block}),
                  ("content_block_delta", {"index": 0, "delta": {"type": "input_json_delta", "partial_json": part}}),
                  ("content_block_stop", {"index": 0}), ("message_delta", {"delta": {"stop_reason": "max_tokens", "stop_sequence": None},
                   "usage": {"output_tokens": 9}}), ("message_stop", {})]
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for name, body in events:
            self.wfile.write(f"event: {name}\ndata: {json.dumps({'type': name, **body})}\n\n".encode())
    def log_message(self, *_): pass
server = HTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"
client = anthropic.Anthropic(base_url=url, api_key="none", max_retries=0)
for part, one, two in [('{"amount": 12', {"amount": 12}, {}), ('{"to": "Ann', {}, {}), ('{"to": "Ann", "amo', {"to": "Ann"}, {"to": "Ann"})]:
    with client.messages.stream(model="m", max_tokens=9, messages=[{"role": "user", "content": "x"}]) as stream:
        python = stream.get_final_message().content[0].input
    javascript = json.loads(subprocess.run(["node", "t.mjs", url], capture_output=True, text=True, check=True).stdout)
    print(f"   arguments cut at {part!r}: Python {python}, JavaScript {javascript}")
    assert (python, javascript) == (one, two)
PY
cat > t.mjs <<'JS'
import Anthropic from "@anthropic-ai/sdk";
const client = new Anthropic({ baseURL: process.argv[2], apiKey: "none", maxRetries: 0 });
const asked = { model: "m", max_tokens: 9, messages: [{ role: "user", content: "x" }] };
console.log(JSON.stringify((await client.messages.stream(asked).finalMessage()).content[0].input));
JS
v/bin/python t.py
