#!/usr/bin/env bash
# Guess: the stream helpers of the OpenAI SDKs put the same final message together in Python and in JavaScript, extra fields such
#   as `reasoning_content` included.
# Reality: Python joins every text of the deltas, JavaScript joins the fields that it knows and keeps the last piece of any other.
#   So the reasoning of a streamed answer is whole in Python and its last piece in JavaScript; a null in a later delta erases it.
#   On the other hand a `role`, a call's `id` and `name` that a server repeats come out as "assistantassistant", "c1c1" and "ff"
#   in Python only, a number is summed up, and a call with index 1 before one with index 0 is an IndexError.
# Versions: openai 3.54.0 (PyPI), openai 7.59.0 (npm); a stub server on this machine's loopback sends the stream.
# For a server author: send `role`, `id` and `name` once, indices in order, no nulls and no numbers of your own in deltas. Even so a
#   JavaScript client that sends `finalMessage()` back with its reasoning sends a shred of it, and the prompt's prefix is another.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check openai==3.54.0
npm install --silent --no-fund --no-audit openai@7.59.0 > /dev/null
npm ls --depth=0 | grep openai
cat > t.py <<'PY'
import json, subprocess, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
import openai

print("openai", version("openai"))
chunks = []

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for chunk in chunks:
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")
    def log_message(self, *_): pass

server = HTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/v1"
client = openai.OpenAI(base_url=url, api_key="none", max_retries=0)

def streamed(*deltas):
    ends = [None] * (len(deltas) - 1) + ["stop"]
    return [{"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
             "choices": [{"index": 0, "delta": delta, "finish_reason": end}]} for delta, end in zip(deltas, ends)]

def call(index, **fields):
    return {"tool_calls": [{"index": index, **fields}]}

def python():
    try:
        with client.chat.completions.stream(model="m", messages=[{"role": "user", "content": "x"}]) as stream:
            return stream.get_final_completion().choices[0].message.to_dict()
    except Exception as error:
        return type(error).__name__

def javascript():
    return json.loads(subprocess.run(["node", "t.mjs", url], capture_output=True, text=True, check=True).stdout)

def see(name, *deltas):
    global chunks
    chunks = streamed(*deltas)
    seen = python(), javascript()
    short = [side if isinstance(side, str) else {key: value for key, value in side.items() if value is not None} for side in seen]
    print(f"{name}\n   Python     {short[0]}\n   JavaScript {short[1]}")
    return seen

one, two = see("reasoning in three pieces", {"role": "assistant", "reasoning_content": "first, "}, {"reasoning_content": "second, "},
               {"reasoning_content": "third"}, {"content": "answer"})
assert (one["reasoning_content"], two["reasoning_content"]) == ("first, second, third", "third")
one, two = see("then a null", {"role": "assistant", "reasoning_content": "first"}, {"content": "answer", "reasoning_content": None})
assert one["reasoning_content"] == "first" and two["reasoning_content"] is None
one, two = see("role in each delta", {"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"})
assert (one["role"], two["role"]) == ("assistantassistant", "assistant") and one["content"] == two["content"] == "ab"
named = {"id": "c1", "type": "function"}
one, two = see("id and name in each delta", {"role": "assistant", **call(0, **named, function={"name": "f", "arguments": "{"})},
               call(0, **named, function={"name": "f", "arguments": "}"}))
seen = [(side["tool_calls"][0]["id"], side["tool_calls"][0]["function"]["name"]) for side in (one, two)]
assert seen == [("c1c1", "ff"), ("c1", "f")], seen
one, two = see("a number in each delta", {"role": "assistant", "content": "a", "tokens": 1}, {"content": "b", "tokens": 1})
assert (one["tokens"], two["tokens"]) == (2, 1)
function = {"name": "f", "arguments": "{}"}
one, two = see("index 1 before index 0", {"role": "assistant", **call(1, id="b", type="function", function=function)},
               call(0, id="a", type="function", function=function))
assert one == "IndexError" and [made["id"] for made in two["tool_calls"]] == ["a", "b"]
PY
cat > t.mjs <<'JS'
import OpenAI from "openai";
const client = new OpenAI({ baseURL: process.argv[2], apiKey: "none", maxRetries: 0 });
const stream = client.chat.completions.stream({ model: "m", messages: [{ role: "user", content: "x" }] });
console.log(JSON.stringify((await stream.finalChatCompletion()).choices[0].message));
JS
v/bin/python t.py
