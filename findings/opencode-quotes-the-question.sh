#!/usr/bin/env bash
# Guess: `opencode run "What is this?"` asks the model what the shell passed: What is this?
# Reality: an argument with a space reaches the model in quotation marks, "What is this?", so that a model may answer about a quotation; one
#   word, and a text on standard input, come without. Quotation marks inside get backslashes.
# Versions: opencode-ai 1.18.33 (npm), Linux x86-64; a stub on this machine's loopback is the model.
# For a server author: a test or benchmark that drives a server by `opencode run` has other prompts than one that uses the TUI, and another
#   prefix for the cache. Give the text on standard input.
# Grounds: new
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-fund --no-audit opencode-ai@1.18.33 > /dev/null
npm ls --depth=0 | grep opencode
cat > t.py <<'PY'
import json, os, subprocess, tempfile, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

asked = []

class Model(BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if body.get("tools"):
            content = body["messages"][-1]["content"]
            asked.append(content if isinstance(content, str) else content[0]["text"])
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for delta, end in (({"role": "assistant", "content": "hello"}, None), ({}, "stop")):
            choice = {"index": 0, "delta": delta, "finish_reason": end}
            self.wfile.write(f"data: {json.dumps({'id': 'c', 'created': 1, 'model': 'm', 'choices': [choice]})}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")

server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
threading.Thread(target=server.serve_forever, daemon=True).start()
home, folder = (os.path.abspath(tempfile.mkdtemp(dir=".")) for _ in range(2))
provider = {"npm": "@ai-sdk/openai-compatible", "name": "local", "models": {"m": {"name": "m", "limit": {"context": 32768, "output": 4096}}},
            "options": {"baseURL": f"http://127.0.0.1:{server.server_port}/v1", "apiKey": "none"}}
with open(f"{folder}/opencode.json", "w") as file:
    json.dump({"autoupdate": False, "share": "disabled", "provider": {"local": provider}, "model": "local/m"}, file)
switches = ("AUTOUPDATE", "MODELS_FETCH", "LSP_DOWNLOAD", "DEFAULT_PLUGINS")
environment = {"PATH": os.environ["PATH"], "HOME": home, **{f"OPENCODE_DISABLE_{name}": "1" for name in switches}}

def sent(*arguments, stdin=""):
    asked.clear()
    command = [os.path.abspath("node_modules/.bin/opencode"), "run", "--model", "local/m", *arguments]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, input=stdin, timeout=150)
    assert done.returncode == 0 and len(asked) == 1, done
    print(f"{arguments} {stdin!r}: {asked[0]!r}")
    return asked[0].strip()

assert sent("Hello") == "Hello"
assert sent("What is this?") == '"What is this?"'
assert sent("What", "is", "this?") == "What is this?"
assert sent('Say "a b" twice') == '"Say \\"a b\\" twice"'
assert sent(stdin="What is this?") == "What is this?"
PY
python3 t.py
