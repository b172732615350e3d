#!/usr/bin/env bash
# Guess: a tracer of OpenAI's Responses API records the token counts and the text of a stream, whether it was finished or cut by
#   max_output_tokens.
# Reality: OpenInference (Arize Phoenix) reads `response.completed` alone. After `response.incomplete` the span has status OK, no model of the answer,
#   no text and no counts, as if nothing had been generated. OpenLLMetry reads the response of whichever event comes last.
# Versions: openinference-instrumentation-openai 0.1.66, opentelemetry-instrumentation-openai 0.62.4, openai 3.57.0 (PyPI); a stub server on this
#   machine's loopback sends both streams.
# For a server author: a model that thinks for long ends many answers in this way. The dashboard then shows too few tokens, and the longest answers as
#   empty ones. The server's own counts are right.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check openai==3.57.0 openinference-instrumentation-openai==0.1.66 \
    opentelemetry-instrumentation-openai==0.62.4 opentelemetry-sdk==1.45.2
cat > t.py <<'PY'
import json, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
import openai
from openinference.instrumentation.openai import OpenAIInstrumentor as OpenInference
from opentelemetry.instrumentation.openai import OpenAIInstrumentor as OpenLLMetry
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

print({name: version(name) for name in ("openinference-instrumentation-openai", "opentelemetry-instrumentation-openai", "openai")})

def events(end):
    text = {"type": "output_text", "text": "One two three", "annotations": []}
    message = {"type": "message", "id": "m", "role": "assistant", "status": end, "content": [text]}
    usage = {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10, "input_tokens_details": {"cached_tokens": 0},
             "output_tokens_details": {"reasoning_tokens": 0}}
    response = {"id": "r", "object": "response", "created_at": 1, "model": "local", "tools": [], "tool_choice": "auto", "parallel_tool_calls": True}
    last = {**response, "status": end, "output": [message], "usage": usage,
            "incomplete_details": {"reason": "max_output_tokens"} if end == "incomplete" else None}
    at = {"item_id": "m", "output_index": 0, "content_index": 0}
    return [
        {"type": "response.created", "response": {**response, "status": "in_progress", "output": []}},
        {"type": "response.output_item.added", "output_index": 0, "item": {**message, "status": "in_progress", "content": []}},
        {"type": "response.content_part.added", **at, "part": {**text, "text": ""}},
        {"type": "response.output_text.delta", **at, "delta": "One two three", "logprobs": []},
        {"type": f"response.{end}", "response": last},
    ]

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for number, event in enumerate(events("incomplete" if asked["max_output_tokens"] == 3 else "completed")):
            self.wfile.write(f"event: {event['type']}\ndata: {json.dumps({**event, 'sequence_number': number})}\n\n".encode())
    def log_message(self, *_): pass

server = HTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()

def traces(instrumentor):
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor.instrument(tracer_provider=provider)
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{server.server_port}/v1", api_key="none")
    for limit, last in [(99, "response.completed"), (3, "response.incomplete")]:
        exporter.clear()
        kinds = [event.type for event in client.responses.create(model="local", input="Count.", max_output_tokens=limit, stream=True)]
        assert kinds[-1] == last
        (span,) = exporter.get_finished_spans()
        known = span.attributes
        counts = [known.get(f"llm.token_count.{a}", known.get(f"gen_ai.usage.{b}")) for a, b in [("prompt", "input_tokens"), ("completion", "output_tokens")]]
        yield *counts, any("One two three" in str(value) for value in known.values()), span.status.status_code.name
    instrumentor.uninstrument()

for instrumentor, expected in [
    (OpenInference(), [(7, 3, True, "OK"), (None, None, False, "OK")]),
    (OpenLLMetry(), [(7, 3, True, "OK"), (7, 3, True, "OK")]),
]:
    seen = list(traces(instrumentor))
    for end, one in zip(("completed", "incomplete"), seen):
        print(f"{type(instrumentor).__module__}, response.{end}: tokens {one[0]} + {one[1]}, text {one[2]}, status {one[3]}")
    assert seen == expected, seen
PY
v/bin/python t.py
