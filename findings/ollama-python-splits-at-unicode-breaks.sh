#!/usr/bin/env bash
# Guess: Ollama's clients split a streamed answer at line feeds, as NDJSON says, so a text may hold any other character as it is.
# Reality: the Python client reads lines by httpx, which splits wherever `str.splitlines` does. U+2028, U+2029 and U+0085 are legal
#   within a JSON string, and each of them cuts the line in two: JSONDecodeError in the middle of the stream. The JavaScript client is right.
#   Go's encoding/json escapes U+2028 and U+2029 by its documentation; serde_json and `ensure_ascii=False` escape none.
# Versions: ollama 0.6.3 (PyPI) with httpx 0.28.1, ollama 0.6.4 (npm); a stub server on this machine's loopback sends the stream.
# For a server author: escape the three characters in every line. Web pages and PDF text that a model quotes hold them.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check ollama==0.6.3 httpx==0.28.1
npm install --silent --no-fund --no-audit ollama@0.6.4 > /dev/null
npm ls --depth=0 | grep ollama
cat > t.py <<'PY'
import json, subprocess, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
import ollama

print({name: version(name) for name in ("ollama", "httpx")})
sent = []

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "application/x-ndjson")
        self.end_headers()
        self.wfile.write(b"".join(sent))
    def log_message(self, *_): pass

server = HTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"

def stream(text, ascii):
    pieces = [{"content": text}, {"content": "end"}]
    lines = [{"model": "m", "message": {"role": "assistant", **piece}, "done": piece["content"] == "end"} for piece in pieces]
    sent[:] = [(json.dumps(line, ensure_ascii=ascii) + "\n").encode() for line in lines]

def python():
    try:
        ask = [{"role": "user", "content": "x"}]
        return "".join(piece.message.content for piece in ollama.Client(url).chat("m", ask, stream=True))
    except Exception as error:
        return type(error).__name__

def javascript():
    return json.loads(subprocess.run(["node", "t.mjs", url], capture_output=True, text=True, check=True).stdout)

for name, text in [("space", "a b"), ("U+2028", "a\u2028b"), ("U+2029", "a\u2029b"), ("U+0085", "a\u0085b")]:
    for ascii in (False, True):
        stream(text, ascii)
        seen = python(), javascript()
        print(f"{name}, {'escaped' if ascii else 'as it is'}: Python {seen[0]!r}, JavaScript {seen[1]!r}")
        fails = name != "space" and not ascii
        assert seen == ("JSONDecodeError" if fails else text + "end", text + "end"), seen
PY
cat > t.mjs <<'JS'
import { Ollama } from "ollama";
const client = new Ollama({ host: process.argv[2] });
let text = "";
for await (const piece of await client.chat({ model: "m", messages: [{ role: "user", content: "x" }], stream: true })) text += piece.message.content;
console.log(JSON.stringify(text));
JS
v/bin/python t.py
