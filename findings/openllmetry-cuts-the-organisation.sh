#!/usr/bin/env bash
# Guess: a trace has the model's name as the server states it; a span's request and response model are equal if the server answers with the name that was asked.
# Reality: OpenLLMetry keeps the request's name and cuts the response's down to what follows the last slash: `mlx-community/Qwen3-4B` is answered by `Qwen3-4B`.
#   So is every other organisation's conversion of it: their tokens are one line of a dashboard that groups by `gen_ai.response.model`. Without a name in the
#   response the span has none. OpenInference and OpenTelemetry's own package keep the name.
# Versions: opentelemetry-instrumentation-openai 0.62.4, opentelemetry-instrumentation-genai-openai 1.3b0, openinference-instrumentation-openai 0.1.66, openai
#   3.57.0 (PyPI); a stub server on this machine's loopback answers with the name that it was asked for.
# For a server author: two conversions of one model cannot be told apart there, and joining traces with the server's log by model finds nothing. Group by
#   `gen_ai.request.model`.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check openai==3.57.0 opentelemetry-instrumentation-openai==0.62.4 opentelemetry-instrumentation-genai-openai==1.3b0 \
    openinference-instrumentation-openai==0.1.66 opentelemetry-sdk==1.45.2
cat > t.py <<'PY'
import json, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
import openai
from openinference.instrumentation.openai import OpenAIInstrumentor as OpenInference
from opentelemetry.instrumentation.openai import OpenAIInstrumentor as OpenLLMetry
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor as OpenTelemetry
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

names = ("opentelemetry-instrumentation-openai", "opentelemetry-instrumentation-genai-openai", "openinference-instrumentation-openai", "openai")
print({name: version(name) for name in names})

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        head = {"id": "c", "created": 1, "model": asked["model"]}
        usage = {"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8}
        if asked.get("stream"):
            chunks = [{**head, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "Hello"}, "finish_reason": "stop"}]}]
            body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
        else:
            choice = {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}
            body = json.dumps({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
        self.send_response(200)
        self.send_header("content-type", "text/event-stream" if asked.get("stream") else "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())
    def log_message(self, *_): pass

server = HTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()

def models(instrumentor, requested, answered):
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor.instrument(tracer_provider=provider)
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{server.server_port}/v1", api_key="none")
    for model in ("mlx-community/Qwen3-4B", "unsloth/Qwen3-4B"):
        for stream in (False, True):
            exporter.clear()
            answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hi"}], stream=stream)
            stated = {chunk.model for chunk in answer} if stream else {answer.model}
            assert stated == {model}
            (span,) = exporter.get_finished_spans()
            yield span.attributes.get(requested), span.attributes.get(answered)
    instrumentor.uninstrument()

whole = [(name, name) for name in ["mlx-community/Qwen3-4B"] * 2 + ["unsloth/Qwen3-4B"] * 2]
for instrumentor, requested, answered, expected in [
    (OpenLLMetry(), "gen_ai.request.model", "gen_ai.response.model", [(name, "Qwen3-4B") for name, _ in whole]),
    (OpenTelemetry(), "gen_ai.request.model", "gen_ai.response.model", whole),
    (OpenInference(), "llm.model_name", "llm.model_name", whole),
]:
    seen = list(models(instrumentor, requested, answered))
    print(f"{type(instrumentor).__module__}: {requested}, {answered}")
    for one in seen:
        print("  ", one)
    assert seen == expected, seen
PY
v/bin/python t.py
