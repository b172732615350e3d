#!/usr/bin/env bash
# Guess: Codex with a local provider, `check_for_update_on_startup = false` and `[analytics] enabled = false` speaks to that provider
#   alone; at the most `apps = false` is needed, since "apps" are what ChatGPT hosts.
# Reality: `codex exec` then still asks github.com, api.github.com and chatgpt.com for plugins, before it has a task and without a login.
#   Only `[features] plugins = false` stops it. Nothing in its output says that it asked, and refusals are not shown either.
# Versions: @openai/codex 0.171.0 (npm), Linux x86-64. A proxy on this machine's loopback writes the hosts down and refuses all of them, so
#   that nothing leaves the machine; a stub there answers as the model.
# For a server author: "runs wholly on this machine" is untrue for a user who copies the usual lines, and behind a firewall that drops
#   packets each start waits. Put the switch into the instructions and test with a proxy that counts.
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

asked, turns = [], []

class Quiet(BaseHTTPRequestHandler):
    def log_message(self, *_): pass

class Proxy(Quiet):
    def refuse(self):
        asked.append(self.path)
        self.send_error(403)
    do_CONNECT = do_GET = do_POST = do_HEAD = refuse

class Model(Quiet):
    def do_GET(self):
        self.send_error(404)
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        turns.append(self.path)
        item = {"type": "message", "id": "m", "role": "assistant", "status": "completed",
                "content": [{"type": "output_text", "text": "hello", "annotations": []}]}
        usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for name, body in [("response.created", {"response": {"id": "r"}}),
                           ("response.output_item.done", {"output_index": 0, "item": item}),
                           ("response.completed", {"response": {"id": "r", "usage": usage}})]:
            self.wfile.write(f"event: {name}\ndata: {json.dumps({'type': name, **body})}\n\n".encode())

def start(handler):
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"

proxy, model = start(Proxy), start(Model)

def hosts(switches):
    asked.clear()
    turns.clear()
    home, folder = tempfile.mkdtemp(dir="."), tempfile.mkdtemp(dir=".")
    with open(f"{home}/config.toml", "w") as file:
        file.write(f'model = "m"\nmodel_provider = "local"\n{switches}\n[model_providers.local]\nname = "local"\n'
                   f'base_url = "{model}/v1"\nwire_api = "responses"\n')
    home = os.path.abspath(home)
    names = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"]
    environment = {"PATH": os.environ["PATH"], "HOME": home, "CODEX_HOME": home, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1",
                   **{name: proxy for name in names}, **{name.lower(): proxy for name in names}}
    command = [os.path.abspath("node_modules/.bin/codex"), "exec", "--json", "--skip-git-repo-check", "-s", "read-only", "say hello"]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)
    assert done.returncode == 0 and turns and '"text":"hello"' in done.stdout, done
    assert not any(host in done.stdout + done.stderr for host in ("github", "chatgpt.com"))
    seen = sorted({path.removeprefix("http://").split(":")[0].split("/")[0] for path in asked})
    print(f"{switches.split()!r}\n   asked {seen}")
    return seen

outside = ["api.github.com", "chatgpt.com", "github.com"]
quiet = "check_for_update_on_startup = false\n[analytics]\nenabled = false\n"
assert set(outside) < set(hosts(""))
assert hosts(quiet) == outside
assert hosts(f"{quiet}[features]\napps = false\n") == outside
assert hosts(f"{quiet}[features]\nplugins = false\n") == []
PY
python3 t.py
