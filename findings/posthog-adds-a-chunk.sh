#!/usr/bin/env bash
# Guess: a tracer's client returns what the wrapped client returns: the same stream, chunk by chunk.
# Reality: PostHog's `OpenAI` adds `include_usage` to each streamed request, also over a caller's `false`. So the server sends one more chunk, without choices,
#   and code that was right without the tracer, `chunk.choices[0]` in a loop, raises IndexError after the last piece. Langfuse leaves the request.
# Versions: posthog 7.91.1, langfuse 5.0.4, openai 3.57.0 (PyPI); a stub server on this machine's loopback sends counts if asked.
# For a server author: "your last chunk has no choices" is right by the protocol, and asked for by the tracer.
# Grounds: deep
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check posthog==7.91.1 langfuse==5.0.4 openai==3.57.0
cat > t.py <<'PY'
import json, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

print(sys.argv[1], {name: version(name) for name in (sys.argv[1], "openai")})
asked = []

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        body, kind = "{}", "application/json"
        data = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.path == "/v1/chat/completions":
            asked.append(json.loads(data))
            head = {"id": "c", "created": 1, "model": "local", "object": "chat.completion.chunk"}
            chunks = [{**head, "choices": [{"index": 0, "delta": {"content": "Hello"}, "finish_reason": "stop"}]}]
            if (asked[-1].get("stream_options") or {}).get("include_usage"):
                chunks.append({**head, "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8}})
            body, kind = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n", "text/event-stream"
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())
    def log_message(self, *_): pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
base, at_server = f"http://127.0.0.1:{server.server_port}", {"base_url": f"http://127.0.0.1:{server.server_port}/v1", "api_key": "none"}

def client(name):
    if name == "posthog":
        from posthog import Posthog
        from posthog.ai.openai import OpenAI
        return OpenAI(posthog_client=Posthog("key", host=base, before_send=lambda _: None, sync_mode=True), **at_server)
    if name == "langfuse":
        from langfuse import Langfuse
        from langfuse.openai import openai
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        Langfuse(public_key="pk", secret_key="sk", base_url=base, span_exporter=InMemorySpanExporter())
        return openai.OpenAI(**at_server)
    from openai import OpenAI
    return OpenAI(**at_server)

for options in ({}, {"stream_options": {"include_usage": False}}):
    text, raised = "", None
    stream = client(sys.argv[1]).chat.completions.create(model="local", messages=[{"role": "user", "content": "Hi"}], stream=True, **options)
    try:
        for chunk in stream:
            text += chunk.choices[0].delta.content
    except IndexError as error:
        raised = str(error)
    print("  asked by the caller:", options, "| sent:", asked[-1].get("stream_options"), "| text:", text, "| raised:", raised)
    assert text == "Hello"
    if sys.argv[1] == "posthog":
        assert asked[-1]["stream_options"] == {"include_usage": True} and raised
    else:
        assert asked[-1].get("stream_options") == options.get("stream_options") and raised is None
PY
for one in posthog langfuse openai; do
    v/bin/python t.py "$one"
done
