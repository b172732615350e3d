#!/usr/bin/env bash
# Guess: `name` of a provider in Codex' config.toml is a label; what the protocol is, `wire_api` and the switches beside it say.
# Reality: a provider that is called "OpenAI" is taken for OpenAI, whatever its URL. Codex then has the server compact: a request ends with
#   an item `compaction_trigger`, must be answered with exactly one `compaction` item, and otherwise the session fails for good.
#   Under any other name it writes the request for a summary itself, without tools, and takes a message for the answer.
# Versions: @openai/codex 0.171.0 (npm), Linux x86-64; a stub on this machine's loopback is the model and counts tokens.
# For a server author: people copy OpenAI's block and change the URL. Either serve `compaction_trigger`, or expect sessions that die at their
#   first compaction with "expected exactly one compaction output item".
# Grounds: new
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-fund --no-audit @openai/codex@0.171.0 > /dev/null
npm ls --depth=0 | grep @openai/codex
cat > t.py <<'PY'
import json, os, subprocess, tempfile, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

asked = []

class Model(BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_GET(self):
        self.send_error(404)
    def do_POST(self):
        asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        item = {"type": "message", "id": "m", "role": "assistant", "status": "completed",
                "content": [{"type": "output_text", "text": "hello", "annotations": []}]}
        usage = {"input_tokens": 9000, "output_tokens": 1, "total_tokens": 9001}
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for name, body in [("response.created", {"response": {"id": "r"}}),
                           ("response.output_item.done", {"output_index": 0, "item": item}),
                           ("response.completed", {"response": {"id": "r", "usage": usage}})]:
            self.wfile.write(f"event: {name}\ndata: {json.dumps({'type': name, **body})}\n\n".encode())

server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
threading.Thread(target=server.serve_forever, daemon=True).start()

def session(name):
    """Two questions; Codex compacts before the second one."""
    asked.clear()
    home, folder = (os.path.abspath(tempfile.mkdtemp(dir=".")) for _ in range(2))
    with open(f"{home}/config.toml", "w") as file:
        file.write(f'model = "m"\nmodel_provider = "local"\nmodel_auto_compact_token_limit = 5000\ncheck_for_update_on_startup = false\n'
                   f'[analytics]\nenabled = false\n[features]\nplugins = false\nremote_plugin = false\napps = false\n'
                   f'[model_providers.local]\nname = "{name}"\nbase_url = "http://127.0.0.1:{server.server_port}/v1"\nwire_api = "responses"\n')
    environment = {"PATH": os.environ["PATH"], "HOME": home, "CODEX_HOME": home, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    for more in ([], ["resume", "--last"]):
        command = [os.path.abspath("node_modules/.bin/codex"), "exec", *more, "--json", "--skip-git-repo-check",
                   "--dangerously-bypass-approvals-and-sandbox", "say hello"]
        done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)
    last, request = done.stdout.strip().splitlines()[-1], asked[1]
    print(f"{name}: {len(asked)} requests, the second with {len(request['tools'])} tools ends with {json.dumps(request['input'][-1])[:90]}")
    return last, request

last, request = session("local")
assert '"turn.completed"' in last and request["tools"] == [], last
assert "handoff summary" in request["input"][-1]["content"][0]["text"]
for name in ("openai", "OpenAI-compatible"):
    assert session(name)[1]["tools"] == []
last, request = session("OpenAI")
assert '"turn.failed"' in last and "exactly one compaction output item" in last, last
assert request["input"][-1] == {"type": "compaction_trigger"} and request["tools"]
PY
python3 t.py
