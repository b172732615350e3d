#!/usr/bin/env bash
# Guess: DSPy's cache of answers belongs to a model at a server: with another `api_base` the question is asked anew.
# Reality: the address is left out of the key, and the cache is on disk. A second server, or a second model behind the same name, is never asked:
#   the new process gets the first one's answers. So is an answer that `max_tokens` has cut, which no repetition then completes.
# Versions: dspy 3.4.1, litellm 1.110.2, openai 3.57.0 (PyPI); two stub servers on this machine's loopback.
# For a server author: "the new engine gives the same answers" may come from this cache. Ask for `cache=False` or another model name in reports,
#   and look into your own log.
# Grounds: costly
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check dspy==3.4.1 litellm==1.110.2 openai==3.57.0
cat > ask.py <<'PY'
import sys
import dspy
url, question, temperature = sys.argv[1:]
dspy.configure_cache(disk_cache_dir="cache")
print(dspy.LM("openai/local", api_base=url, api_key="none", max_tokens=50, temperature=float(temperature))(question)[0])
PY
cat > t.py <<'PY'
import json, os, subprocess, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

print({name: version(name) for name in ("dspy", "litellm", "openai")})
asked = {"first": 0, "second": 0}

def serve(name):
    class Stub(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            asked[name] += 1
            cut = "story" in str(body["messages"])
            data = json.dumps({"id": "c", "object": "chat.completion", "created": 1, "model": "local", "choices": [
                {"index": 0, "message": {"role": "assistant", "content": "Once upon a" if cut else f"the {name} server"},
                 "finish_reason": "length" if cut else "stop"}],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        def log_message(self, *_): pass
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"

urls = {name: serve(name) for name in asked}
def ask(name, question, temperature="0.5"):
    before = asked[name]
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "true", "HOME": os.getcwd()}
    run = subprocess.run([sys.executable, "ask.py", urls[name], question, temperature], capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip().splitlines()[-1], asked[name] - before

for name, question, temperature, expected in [
    ("first", "Who are you?", "0.5", ("the first server", 1)),
    ("second", "Who are you?", "0.5", ("the first server", 0)),
    ("second", "Who are you?", "0.7", ("the second server", 1)),
    ("first", "Tell a story", "0.5", ("Once upon a", 1)),
    ("first", "Tell a story", "0.5", ("Once upon a", 0)),
]:
    seen = ask(name, question, temperature)
    print(f"process for the {name} server, {question!r}, temperature {temperature}: {seen[0]!r}, requests {seen[1]}")
    assert seen == expected, (seen, expected)
PY
v/bin/python t.py
