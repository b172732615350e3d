#!/usr/bin/env bash
# Guess: LiteLLM's `ollama_chat/` translates OpenAI's parameters by their meaning: `frequency_penalty: 0` is no penalty, and a `tool_choice` that Ollama does
#   not have is refused, as other unsupported parameters are.
# Reality: the number of `frequency_penalty` becomes `repeat_penalty`, which divides by it: 0, OpenAI's default, is the strongest push towards repetition
#   there is, where 1 is neutral; 0.5 rewards repetition as well. `tool_choice` is taken as supported and not sent: "none" and "required" do nothing.
#   `presence_penalty` is refused.
# Versions: litellm 1.110.2 (PyPI); a stub server on this machine's loopback.
# For a server author: such clients send `repeat_penalty: 0` in each request if their settings say "no penalty". Refuse it by name rather than obey.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check litellm==1.110.2
cat > t.py <<'PY'
import json, os, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm

print("litellm", version("litellm"))
litellm.suppress_debug_info = True
asked = []

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/api/chat":
            asked.append(body)
        body = json.dumps({"model": "local", "created_at": "2026-01-01T00:00:00Z", "message": {"role": "assistant", "content": "Hello"},
                           "done": True, "done_reason": "stop", "prompt_eval_count": 7, "eval_count": 1}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass

server = HTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
tool = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}}}

def sent(**more):
    asked.clear()
    try:
        litellm.completion(model="ollama_chat/local", api_base=f"http://127.0.0.1:{server.server_port}", messages=[{"role": "user", "content": "Hi"}], **more)
    except litellm.UnsupportedParamsError as error:
        return type(error).__name__
    (body,) = asked
    return {key: value for key, value in body.items() if key not in ("model", "messages", "stream", "tools")}

for more, expected in [
    ({}, {"options": {}}),
    ({"frequency_penalty": 0}, {"options": {"repeat_penalty": 0}}),
    ({"frequency_penalty": 0.5}, {"options": {"repeat_penalty": 0.5}}),
    ({"presence_penalty": 0.5}, "UnsupportedParamsError"),
    ({"tools": [tool], "tool_choice": "none"}, {"options": {}}),
    ({"tools": [tool], "tool_choice": "required"}, {"options": {}}),
]:
    seen = sent(**more)
    print({key: "[...]" if key == "tools" else value for key, value in more.items()}, "->", seen)
    assert seen == expected, seen
PY
v/bin/python t.py
