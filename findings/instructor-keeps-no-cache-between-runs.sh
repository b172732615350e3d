#!/usr/bin/env bash
# Guess: `cache=DiskCache(directory=…)` of Instructor answers the same question without a request when the program runs again.
# Reality: each client has a random scope that is part of the key. A second client in the same process and every later run ask the server
#   anew, while the folder grows by an entry for each. Only `cache_namespace="…"` in the call shares entries.
# Versions: instructor 1.17.0, diskcache 5.6.3, openai 3.3.0 (PyPI); a stub server on this machine's loopback counts.
# For a server author: an evaluation that "is cached" sends all of its requests again at each run.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check instructor==1.17.0 diskcache==5.6.3 openai==3.3.0
cat > ask.py <<'PY'
import sys
import instructor, openai
from instructor.cache import DiskCache
from pydantic import BaseModel

class Mountain(BaseModel):
    altitude: int

url, mode, clients, namespace = sys.argv[1:]
for _ in range(int(clients)):
    cache = DiskCache(directory=f"cache-{mode}-{namespace}")
    client = instructor.from_openai(openai.OpenAI(base_url=url, api_key="none"), mode=instructor.Mode[mode], cache=cache)
    for _ in range(3):
        shared = {"cache_namespace": namespace} if namespace != "none" else {}
        answer = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}], response_model=Mountain, **shared)
        assert answer.altitude == 12
print(len(cache._cache))
PY
cat > t.py <<'PY'
import json, subprocess, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

print({name: version(name) for name in ("instructor", "diskcache", "openai")})
asked = []

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        asked.append(request)
        message, end = {"role": "assistant", "content": '{"altitude": 12}'}, "stop"
        if request.get("tools"):
            function = {"name": "Mountain", "arguments": message["content"]}
            message, end = {"role": "assistant", "content": None, "tool_calls": [{"id": "call_1", "type": "function", "function": function}]}, "tool_calls"
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        choices = [{"index": 0, "message": message, "finish_reason": end}]
        body = json.dumps({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": choices, "usage": usage}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/v1"
for mode in ("JSON", "TOOLS"):
    for namespace, expected in [("none", [(1, 1), (1, 2), (2, 4)]), ("shared", [(1, 1), (0, 1), (0, 1)])]:
        seen = []
        for clients in ("1", "1", "2"):
            asked.clear()
            done = subprocess.run([sys.executable, "ask.py", url, mode, clients, namespace], capture_output=True, text=True, check=True)
            seen.append((len(asked), int(done.stdout)))
        print(f"{mode}, cache_namespace {namespace}: three runs send and leave (requests, entries) {seen}")
        assert seen == expected, seen
        assert len({json.dumps(request) for request in asked}) <= 1
PY
v/bin/python t.py
