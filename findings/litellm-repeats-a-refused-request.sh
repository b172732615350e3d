#!/usr/bin/env bash
# Guess: LiteLLM's `num_retries=2` means what the SDK's `max_retries=2` does: two more tries after 429 and 5xx, none after a 400.
# Reality: every error is tried again. A request that the server refuses with 400, 401, 404 or 422 is sent three times, at once and
#   without a pause. A 429 or 500 is sent five times, since the OpenAI client inside has two retries of its own. `max_retries=2` instead
#   of `num_retries=2` gives one and three.
# Versions: litellm 1.110.2, tenacity 9.1.4 (PyPI), which `num_retries` needs; a stub server on this machine's loopback counts.
# For a server author: a rate limit or a log that counts refused requests sees threefold; the same prompt that is too long comes thrice.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check litellm==1.110.2 tenacity==9.1.4
cat > t.py <<'PY'
import json, os, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm, openai

print({name: version(name) for name in ("litellm", "openai", "tenacity")})
litellm.suppress_debug_info = True
asked = []

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        asked.append(self.rfile.read(int(self.headers["content-length"])))
        body = json.dumps({"error": {"message": "temperature must be at most 2", "type": "invalid_request_error"}}).encode()
        self.send_response(int(self.path.split("/")[1]))
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()

def times(status, **settings):
    asked.clear()
    start, url = time.monotonic(), f"http://127.0.0.1:{server.server_port}/{status}/v1"
    try:
        litellm.completion(model="openai/m", api_base=url, api_key="none", messages=[{"role": "user", "content": "x"}], **settings)
    except openai.APIStatusError as error:
        print(f"{status}, {settings}: sent {len(asked)} times in {time.monotonic() - start:.1f} s, then {type(error).__name__}")
    assert len(set(asked)) == 1
    return len(asked)

for status, bare, num_retries, max_retries in [(400, 1, 3, 1), (401, 1, 3, 1), (404, 1, 3, 1), (422, 1, 3, 1), (429, 3, 5, 3), (500, 3, 5, 3)]:
    assert times(status) == bare
    assert times(status, num_retries=2) == num_retries
    assert times(status, max_retries=2) == max_retries
PY
v/bin/python t.py
