#!/usr/bin/env bash
# Guess: Claude Code on another server takes an unknown model for a small one, or reads the window from `/v1/models`, and compacts in
#   time; and any text that the model answers to the request for a summary is the summary.
# Reality: it assumes 1,000,000 tokens and does not ask for the list, so a model with 32,768 is sent 34,000 and more without a compaction.
#   `CLAUDE_CODE_MAX_CONTEXT_TOKENS` sets the window. `CLAUDE_CODE_AUTO_COMPACT_WINDOW`, which sounds like it, has a minimum of 100,000.
#   A summary without `<summary>` tags is asked for twice, with the same request, before the text is taken as it is.
# Versions: @anthropic-ai/claude-code 2.1.332 (npm), Linux x86-64; a stub on this machine's loopback is the model and counts tokens.
# For a server author: put the variable into the instructions, and expect the prompt of a compaction a second time from small models.
# Grounds: new
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-fund --no-audit @anthropic-ai/claude-code@2.1.332 > /dev/null
npm ls --depth=0 | grep claude-code
cat > t.py <<'PY'
import json, os, subprocess, tempfile, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

asked, summary = [], []

class Model(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def do_GET(self):
        asked.append(self.path)
        self.send_error(404)
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        compacts = "Do NOT call any tools" in json.dumps(body["messages"][-1:])
        asked.append("summary" if compacts else "turn")
        text = summary[0] if compacts else "hello"
        usage = {"input_tokens": 34_000, "output_tokens": 1}
        message = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None, "usage": usage}
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        for kind, more in [("message_start", {"message": message}),
                           ("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}),
                           ("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": text}}),
                           ("content_block_stop", {"index": 0}),
                           ("message_delta", {"delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": usage}),
                           ("message_stop", {})]:
            self.wfile.write(f"event: {kind}\ndata: {json.dumps({'type': kind, **more})}\n\n".encode())
        self.close_connection = True

server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
threading.Thread(target=server.serve_forever, daemon=True).start()

def session(text, **settings):
    """A session of two questions: what the model was asked, and what Claude Code said."""
    asked.clear()
    summary[:] = [text]
    home, folder = (os.path.abspath(tempfile.mkdtemp(dir=".")) for _ in range(2))
    quiet = ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "DISABLE_TELEMETRY", "DISABLE_ERROR_REPORTING", "DISABLE_AUTOUPDATER")
    environment = {"PATH": os.environ["PATH"], "HOME": home, "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{server.server_port}",
                   "ANTHROPIC_AUTH_TOKEN": "none", "ANTHROPIC_DEFAULT_HAIKU_MODEL": "local", **dict.fromkeys(quiet, "1"), **settings}
    said = ""
    for more in ([], ["--continue"]):
        command = [os.path.abspath("node_modules/.bin/claude"), "-p", "Say hello", "--model", "local", *more]
        done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)
        assert done.returncode == 0 and "hello" in done.stdout, done
        said += done.stdout + done.stderr
    print(settings, asked)
    return list(asked), said

tagged = "<summary>We said hello.</summary>"
seen, said = session(tagged)
assert seen == ["turn", "turn"] and "assumes a context window of 1m tokens" in said, said
seen, said = session(tagged, CLAUDE_CODE_AUTO_COMPACT_WINDOW="32768")
assert seen == ["turn", "turn"] and "100k minimum" in said, said
window = {"CLAUDE_CODE_MAX_CONTEXT_TOKENS": "32768"}
seen, said = session(tagged, **window)
assert seen == ["turn", "summary", "turn"] and "assumes" not in said, said
assert session("We said hello.", **window)[0] == ["turn", "summary", "summary", "turn"]
PY
python3 t.py
