#!/usr/bin/env bash
# Guess: the model parameters in a trace are those of the request; what was left out is left out there.
# Reality: Langfuse's `langfuse.openai` writes temperature 1, top_p 1, both penalties 0 and an infinite max_tokens for what the request leaves to the
#   server, as if they had been sent. A local server takes other values then, such as those of the model's generation_config.json. And the reasoning is
#   not in the trace, neither of a whole answer nor of a streamed one.
# Versions: langfuse 5.0.4, openai 3.57.0 (PyPI); a stub server on this machine's loopback, spans go to memory.
# For a server author: a trace is no proof of what the model ran with. "Temperature 1 is too wild" may be about another temperature. Log the effective
#   values on the server.
# Grounds: costly
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check langfuse==5.0.4 openai==3.57.0 opentelemetry-sdk==1.45.2
cat > t.py <<'PY'
import json, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
from langfuse import Langfuse
from langfuse.openai import openai
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

print({name: version(name) for name in ("langfuse", "openai")})
asked = []

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        head = {"id": "c", "created": 1, "model": "local", "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}}
        text = {"role": "assistant", "reasoning_content": "A greeting.", "content": "Hello"}
        if asked[-1].get("stream"):
            kind, chunk = "text/event-stream", {"choices": [{"index": 0, "delta": text, "finish_reason": "stop"}], "object": "chat.completion.chunk"}
            body = f"data: {json.dumps({**head, **chunk})}\n\ndata: [DONE]\n\n"
        else:
            kind, choice = "application/json", {"index": 0, "message": text, "finish_reason": "stop"}
            body = json.dumps({**head, "object": "chat.completion", "choices": [choice]})
        self.send_response(200)
        self.send_header("content-type", kind)
        self.end_headers()
        self.wfile.write(body.encode())
    def log_message(self, *_): pass

server = HTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
base, exporter = f"http://127.0.0.1:{server.server_port}", InMemorySpanExporter()
langfuse = Langfuse(public_key="pk", secret_key="sk", base_url=base, span_exporter=exporter)
client = openai.OpenAI(base_url=base + "/v1", api_key="none")

for more in ({}, {"stream": True}):
    answer = client.chat.completions.create(model="local", messages=[{"role": "user", "content": "Hi"}], **more)
    if more:
        assert [chunk.choices[0].delta.reasoning_content for chunk in answer] == ["A greeting."]
    else:
        assert answer.choices[0].message.reasoning_content == "A greeting."
    langfuse.flush()
    (span,) = exporter.get_finished_spans()
    exporter.clear()
    known = span.attributes
    stated = json.loads(known["langfuse.observation.model.parameters"])
    print("sent:", {key: value for key, value in asked[-1].items() if key != "messages"})
    print("  trace, parameters:", stated)
    print("  trace, output:", known["langfuse.observation.output"])
    assert set(asked[-1]) == {"model", "messages", *more}
    assert stated["max_tokens"] in ("Infinity", float("inf"))
    assert {key: stated[key] for key in stated if key != "max_tokens"} == {"temperature": 1, "top_p": 1, "frequency_penalty": 0, "presence_penalty": 0}
    assert "Hello" in known["langfuse.observation.output"]
    assert not any("A greeting." in str(value) for value in known.values())
PY
v/bin/python t.py
