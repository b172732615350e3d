#!/usr/bin/env bash
# Guess: a streamed response that ends at `max_output_tokens` comes out of the SDKs' stream helper as a Response with the status
#   "incomplete", as it does without a stream, and a failed or a cut one raises.
# Reality: Python's `get_final_response()` raises a bare RuntimeError for "incomplete", so the text that was paid for is in the events
#   alone, and the same RuntimeError for "failed" and for a stream that just ends. JavaScript's `finalResponse()` raises for none of
#   them: it returns "incomplete", "failed", and "in_progress" for a connection that ended in the middle of the answer.
# Versions: openai 3.57.0 (PyPI), openai 7.59.0 (npm); a stub server on this machine's loopback sends the events.
# For a server author: clients cannot see by the helper whether their answer is whole. Send `error` or `response.failed` before you end a
#   stream, and write in the documentation that Python must read `response.incomplete` from the events.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check openai==3.57.0
npm install --silent --no-fund --no-audit openai@7.59.0 > /dev/null
npm ls --depth=0 | grep @
cat > t.py <<'PY'
import json, subprocess, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
import openai

print("openai", version("openai"))

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        status = self.path.split("/")[1]
        response = {"id": "r", "object": "response", "created_at": 1, "model": "m", "output": [], "status": "in_progress", "tools": [],
                    "parallel_tool_calls": True, "tool_choice": "auto", "error": None, "incomplete_details": None}
        item = {"id": "i", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
        part = {"type": "output_text", "text": "", "annotations": []}
        whole = {**item, "status": "incomplete", "content": [{**part, "text": "half"}]}
        end = {**response, "status": status, "output": [whole]}
        end |= {"incomplete": {"incomplete_details": {"reason": "max_output_tokens"}},
                "failed": {"error": {"code": "server_error", "message": "out of memory"}}}.get(status, {})
        at = {"item_id": "i", "output_index": 0, "content_index": 0}
        events = [("created", {"response": response}), ("output_item.added", {"output_index": 0, "item": item}),
                  ("content_part.added", {**at, "part": part}), ("output_text.delta", {**at, "delta": "half", "logprobs": []})]
        if status != "cut":
            events += [("output_text.done", {**at, "text": "half", "logprobs": []}), ("content_part.done", {**at, "part": whole["content"][0]}),
                       ("output_item.done", {"output_index": 0, "item": whole}), (status, {"response": end})]
        body = "".join(f"event: response.{name}\ndata: {json.dumps({'type': 'response.' + name, 'sequence_number': n, **rest})}\n\n"
                       for n, (name, rest) in enumerate(events))
        body = (body if asked.get("stream") else json.dumps(end)).encode()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream" if asked.get("stream") else "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
for status, expected in [("completed", ("completed half", "completed half")), ("incomplete", ("RuntimeError", "incomplete half")),
                         ("failed", ("RuntimeError", "failed half")), ("cut", ("RuntimeError", "in_progress half"))]:
    url = f"http://127.0.0.1:{server.server_port}/{status}"
    client = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
    try:
        with client.responses.stream(model="m", input="x") as stream:
            final = stream.get_final_response()
        python = f"{final.status} {final.output_text}"
    except RuntimeError as error:
        assert not isinstance(error, openai.OpenAIError) and "response.completed" in str(error)
        python = "RuntimeError"
    javascript = subprocess.run(["node", "t.mjs", url], capture_output=True, text=True, check=True).stdout.strip()
    print(f"{status}: Python {python}, JavaScript {javascript}")
    assert (python, javascript) == expected
    if status == "incomplete":
        plain = client.responses.create(model="m", input="x")
        assert (plain.status, plain.output_text) == ("incomplete", "half")
PY
cat > t.mjs <<'JS'
import OpenAI from "openai";
const client = new OpenAI({ baseURL: process.argv[2], apiKey: "none", maxRetries: 0 });
const final = await client.responses.stream({ model: "m", input: "x" }).finalResponse();
console.log(final.status, final.output_text);
JS
v/bin/python t.py
