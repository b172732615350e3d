#!/usr/bin/env bash
# Guess: LiteLLM passes the JSON schema of a tool to an OpenAI-compatible server as it is, with `hosted_vllm/` as with `openai/`.
# Reality: `hosted_vllm/` removes every key "strict", also where it is the name of a parameter: `properties` loses it, `required` still names it. It removes
#   every `additionalProperties: false` too. The name of the tool's own switch is what is meant.
# Versions: litellm 1.110.2 (PyPI); a stub server on this machine's loopback.
# For a server author: a server that enforces the schema must generate a required parameter that nothing describes, so of any type. Tools for parsers,
#   validators and linters have such a parameter. Give `openai/` as the provider.
# Grounds: deep
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
        asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        choice = {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}
        body = json.dumps({"id": "c", "object": "chat.completion", "created": 1, "model": "local", "choices": [choice],
                           "usage": {"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8}}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass

server = HTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
schema = {
    "type": "object",
    "properties": {"path": {"type": "string"}, "strict": {"type": "boolean", "description": "Fail at the first warning."}},
    "required": ["path", "strict"],
    "additionalProperties": False,
}
cut = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path", "strict"]}
for provider, expected in [("openai", schema), ("hosted_vllm", cut)]:
    tool = {"type": "function", "function": {"name": "lint", "description": "Checks a file.", "parameters": json.loads(json.dumps(schema))}}
    litellm.completion(model=f"{provider}/local", api_base=f"http://127.0.0.1:{server.server_port}/v1", api_key="none", tools=[tool],
                       messages=[{"role": "user", "content": "Check a.py"}])
    sent = asked[-1]["tools"][0]["function"]["parameters"]
    print(f"{provider}/: {json.dumps(sent)}")
    assert sent == expected, sent
PY
v/bin/python t.py
