#!/usr/bin/env bash
# Guess: a coding agent does not carry out a call whose arguments `finish_reason: "length"` has cut: they are no JSON, or it sees the reason.
# Reality: pi under its first name closes the open string and the object and writes the half of the file over the whole one. It tells the
#   model of success. pi under its present name refuses every call of a cut answer. The first name is still installed millions of times
#   a month and has no newer version.
# Versions: @mariozechner/pi-coding-agent 0.73.1, @earendil-works/pi-coding-agent 1.6.0, node 22.23.3 (npm); a stub server on this machine's
#   loopback.
# For a server author: partial arguments in a stream are carried out by clients that mend JSON. A limit that cuts few calls protects files.
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

WHOLE = "line one\nline two\nline three\n"
asked = []

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        asked.append(body["messages"])
        if body["messages"][-1]["role"] == "tool":
            delta, finish = {"content": "done"}, "stop"
        else:
            arguments = json.dumps({"path": "notes.txt", "content": WHOLE.replace("two", "2")})[:48]
            function = {"name": "write", "arguments": arguments}
            delta, finish = {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]}, "length"
        head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        chunks = [{**head, "choices": [{"index": 0, "delta": {"role": "assistant", **delta}, "finish_reason": None}]},
                  {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}, {**head, "choices": [], "usage": usage}]
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
for where, package, path, expected in [
    ("old", "@mariozechner/pi-coding-agent", os.environ["PATH"], "line one\nline"),
    ("new", "@earendil-works/pi-coding-agent", f"{here}/new/node_modules/.bin:{os.environ['PATH']}", WHOLE),
]:
    home, project = f"{here}/home-{where}", f"{here}/project-{where}"
    os.makedirs(f"{home}/.pi/agent")
    os.makedirs(project)
    with open(f"{project}/notes.txt", "w") as file:
        file.write(WHOLE)
    model = {"id": "m", "contextWindow": 32768, "maxTokens": 4096}
    provider = {"baseUrl": f"http://127.0.0.1:{server.server_port}/v1", "api": "openai-completions", "apiKey": "none", "models": [model]}
    with open(f"{home}/.pi/agent/models.json", "w") as file:
        json.dump({"providers": {"local": provider}}, file)
    with open(f"{here}/{where}/node_modules/{package}/package.json") as file:
        version = json.load(file)["version"]
    run = subprocess.run([f"{here}/{where}/node_modules/.bin/pi", "--provider", "local", "--model", "m", "-p", "Change two to 2 in notes.txt"],
                         cwd=project, env={"PATH": path, "HOME": home, "PI_OFFLINE": "1"}, stdin=subprocess.DEVNULL, capture_output=True,
                         text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    with open(f"{project}/notes.txt") as file:
        text = file.read()
    result = asked[-1][-1]["content"]
    print(f"{package} {version}: notes.txt holds {text!r}; the model is told {str(result)[:70]!r}")
    assert text == expected and ("Successfully" in str(result)) == (where == "old"), (text, result)
PY
python3 t.py
