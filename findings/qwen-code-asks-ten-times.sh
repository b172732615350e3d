#!/usr/bin/env bash
# Guess: `qwen -p QUESTION` sends one request if the model calls no tool, and shows an answer that `finish_reason: "length"` has cut.
# Reality: an answer that ends by itself costs two requests: the conversation goes out again with tools and the task to write a memory.
#   A cut one costs ten: each of the two is asked again with twice the limit (32,000, then 64,000 tokens) and then three times to go on.
#   The pieces are printed one behind another as one answer, and the exit code is 0. With QWEN_CODE_MAX_OUTPUT_TOKENS set there are two.
# Versions: @qwen-code/qwen-code 0.24.4, node 22.23.3 (npm); a stub server on this machine's loopback.
# For a server author: one question that fills a small context keeps a machine busy for ten full answers. A refusal (400) ends it at once.
# Grounds: new
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-fund --no-audit node@22.23.3 @qwen-code/qwen-code@0.24.4 > /dev/null 2>&1
npm ls --depth=0 | grep qwen
cat > t.py <<'PY'
import json, os, subprocess, tempfile, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

asked, finish = [], [""]

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        chunks = [{**head, "choices": [{"index": 0, "delta": {"role": "assistant", "content": f"piece {len(asked)}; "}, "finish_reason": None}]},
                  {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": finish[0]}]}]
        data = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
        kind = "text/event-stream"
        if finish[0] == "refused":
            data, kind = json.dumps({"error": {"message": "too long", "type": "invalid_request_error"}}), "application/json"
        self.send_response(400 if finish[0] == "refused" else 200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data.encode())
    def log_message(self, *_): pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
binaries = os.path.abspath("node_modules/.bin")

def qwen(end, **more):
    asked.clear()
    finish[0] = end
    home = os.path.abspath(tempfile.mkdtemp(dir="."))
    environment = {"PATH": f"{binaries}:{os.environ['PATH']}", "HOME": home, "OPENAI_API_KEY": "none", "OPENAI_MODEL": "m",
                   "OPENAI_BASE_URL": f"http://127.0.0.1:{server.server_port}/v1", "NO_UPDATE_NOTIFIER": "1", **more}
    done = subprocess.run([f"{binaries}/qwen", "-p", "Say hello"], env=environment, cwd=home, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=150)
    limits = [request["max_tokens"] for request in asked]
    print(f"{end}: exit code {done.returncode}, {len(asked)} requests with the limits {limits}, prints {done.stdout!r}")
    return done.returncode, limits, done.stdout

assert qwen("stop") == (0, [32000] * 2, "piece 1; \n")
assert "Existing memory files" in json.dumps(asked[1]["messages"][-1]) and asked[1]["tools"]
assert qwen("length") == (0, [32000, *[64000] * 4] * 2, "piece 2; piece 3; piece 4; piece 5; \n")
assert "previous_response_suffix" in json.dumps(asked[2]["messages"][-1])
assert qwen("length", QWEN_CODE_MAX_OUTPUT_TOKENS="2000") == (0, [2000] * 2, "piece 1; \n")
assert qwen("refused") == (1, [32000], "")
PY
python3 t.py
