#!/usr/bin/env bash
# Guess: `pi -p` prints the answer that `finish_reason: "length"` has cut, perhaps with a warning, or exits with an error.
# Reality: it prints nothing at all, on neither output, and exits with 0. The text is in the session's file only, marked as withdrawn:
#   the next question of the same session (`-c`) goes out without the cut answer. `--mode json` shows it. The earlier pi prints it.
# Versions: @earendil-works/pi-coding-agent 1.6.0, @mariozechner/pi-coding-agent 0.73.1, node 22.23.3 (npm); a stub server on this
#   machine's loopback.
# For a server author: with a small context or limit, users report that the model "says nothing". Look at the finish reason in your log.
# Grounds: costly
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir old new
npm install --silent --no-fund --no-audit --prefix old @mariozechner/pi-coding-agent@0.73.1 > /dev/null 2>&1
npm install --silent --no-fund --no-audit --prefix new node@22.23.3 @earendil-works/pi-coding-agent@1.6.0 > /dev/null 2>&1
cat > t.py <<'PY'
import json, os, subprocess, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

asked, finish = [], ["stop"]

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        asked.append(json.loads(self.rfile.read(int(self.headers["content-length"])))["messages"])
        head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        usage = {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4}
        chunks = [{**head, "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Half an"}, "finish_reason": None}]},
                  {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": finish[0]}]}, {**head, "choices": [], "usage": usage}]
        data = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data.encode())
    def log_message(self, *_): pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
here = os.getcwd()

def home(where):
    folder = f"{here}/home-{where}-{finish[0]}"
    os.makedirs(f"{folder}/.pi/agent", exist_ok=True)
    model = {"id": "m", "contextWindow": 32768, "maxTokens": 4096}
    provider = {"baseUrl": f"http://127.0.0.1:{server.server_port}/v1", "api": "openai-completions", "apiKey": "none", "models": [model]}
    with open(f"{folder}/.pi/agent/models.json", "w") as file:
        json.dump({"providers": {"local": provider}}, file)
    return folder

def pi(where, *arguments):
    asked.clear()
    folder = home(where)
    path = f"{here}/{where}/node_modules/.bin:{os.environ['PATH']}"
    done = subprocess.run([f"{here}/{where}/node_modules/.bin/pi", "--provider", "local", "--model", "m", *arguments], cwd=folder,
                          env={"PATH": path, "HOME": folder, "PI_OFFLINE": "1"}, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and len(asked) == 1 and done.stderr == "", done
    return done.stdout

for where, end, printed in [("new", "stop", "Half an\n"), ("new", "length", ""), ("old", "stop", "Half an\n"), ("old", "length", "Half an\n")]:
    finish[0] = end
    seen = pi(where, "-p", "Say it")
    pi(where, "-c", "-p", "And then?")
    roles = [message["role"] for message in asked[0] if message["role"] in ("user", "assistant")]
    print(f"{where} pi, finish_reason {end}: prints {seen!r}; the second question goes out after {roles[:-1]}")
    assert seen == printed and ("assistant" in roles) == (printed != ""), (seen, roles)
finish[0] = "length"
assert "Half an" in pi("new", "-p", "--mode", "json", "Say it")
PY
python3 t.py
