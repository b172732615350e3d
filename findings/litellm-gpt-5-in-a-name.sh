#!/usr/bin/env bash
# Guess: for `openai/NAME` with an `api_base` of one's own LiteLLM passes the parameters on, whatever the model is called.
# Reality: a name that holds "gpt-5" or "gpt-6" anywhere is taken for OpenAI's model. `temperature=0.2` and `top_p` are refused before a request is sent, and
#   with `drop_params` they vanish; `max_tokens` becomes `max_completion_tokens`. The hub is full of distillations that are named after their teacher. The
#   test is by small letters: GPT-5 passes.
# Versions: litellm 1.110.2 (PyPI); a stub server on this machine's loopback.
# For a server author: one alias samples as asked and another at the model's default, on the same weights. Look for a request without `temperature`.
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

def sent(name, **more):
    asked.clear()
    try:
        litellm.completion(model=f"openai/{name}", api_base=f"http://127.0.0.1:{server.server_port}/v1", api_key="none", max_tokens=9, temperature=0.2, top_p=0.9,
                           messages=[{"role": "user", "content": "Hi"}], **more)
    except litellm.UnsupportedParamsError as error:
        return type(error).__name__, len(asked)
    return {key: value for key, value in asked[0].items() if key not in ("model", "messages")}

whole = {"max_tokens": 9, "temperature": 0.2, "top_p": 0.9}
for name, strict, lenient in [
    ("someone/qwen3-4b-distill", whole, whole),
    ("someone/qwen3-4b-GPT-5-distill", whole, whole),
    ("someone/qwen3-4b-gpt-5-distill", ("UnsupportedParamsError", 0), {"max_completion_tokens": 9}),
    ("not-gpt-6", ("UnsupportedParamsError", 0), {"max_completion_tokens": 9}),
]:
    seen = sent(name), sent(name, drop_params=True)
    print(f"{name}: {seen[0]}; with drop_params: {seen[1]}")
    assert seen == (strict, lenient), seen
PY
v/bin/python t.py
