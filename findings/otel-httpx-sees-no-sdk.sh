#!/usr/bin/env bash
# Guess: `opentelemetry-instrumentation-httpx` traces the calls of OpenAI's and Anthropic's Python SDKs and sends `traceparent` along, since
#   both SDKs use httpx.
# Reality: since they moved to httpx2 neither has a span nor a `traceparent`, without a warning, while httpx in the same process is traced
#   as before. Of an `http_client` or a `timeout` made with httpx OpenAI's SDK takes both, Anthropic's raises TypeError.
# Versions: openai 3.57.0, anthropic 2.14.0, httpx 0.28.1, opentelemetry-instrumentation-httpx 0.66b2, opentelemetry-sdk 1.45.2 (PyPI); a stub
#   server on this machine's loopback, no exporter.
# For a server author: traces of your server stop joining those of its clients with an upgrade of the client alone. Mocks of httpx, such
#   as respx, miss these calls as well, so tests may reach a real host.
# Grounds: new
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check openai==3.57.0 anthropic==2.14.0 httpx==0.28.1 opentelemetry-sdk==1.45.2 \
    opentelemetry-instrumentation-httpx==0.66b2
cat > t.py <<'PY'
import json, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
import anthropic, httpx, openai
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

names = ("openai", "anthropic", "httpx", "httpx2", "opentelemetry-instrumentation-httpx")
print({name: version(name) for name in names})
joined = []

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        joined.append("traceparent" in self.headers)
        body = {"id": "m", "model": "m", "created": 1, "object": "chat.completion", "choices": [], "type": "message", "role": "assistant",
                "content": [], "usage": None}
        body = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass

server = HTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"
spans, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
HTTPXClientInstrumentor().instrument(tracer_provider=provider)
messages = [{"role": "user", "content": "x"}]

def ask_openai(**settings):
    openai.OpenAI(base_url=url, api_key="none", **settings).chat.completions.create(model="m", messages=messages)

def ask_anthropic(**settings):
    anthropic.Anthropic(base_url=url, api_key="none", **settings).messages.create(model="m", max_tokens=9, messages=messages)

for name, ask, expected in [("httpx", lambda: httpx.post(url, json={}), 1), ("openai", ask_openai, 0), ("anthropic", ask_anthropic, 0)]:
    spans.clear()
    joined.clear()
    ask()
    seen = len(spans.get_finished_spans()), joined
    print(f"{name}: {seen[0]} spans, traceparent sent: {joined[0]}")
    assert seen == (expected, [expected == 1])
ask_openai(timeout=httpx.Timeout(9), http_client=httpx.Client())
for setting in ({"timeout": httpx.Timeout(9)}, {"http_client": httpx.Client()}):
    try:
        ask_anthropic(**setting)
    except TypeError as error:
        print("anthropic:", error)
    else:
        raise AssertionError("anthropic takes it")
PY
v/bin/python t.py
