#!/usr/bin/env bash
# Guess: instrumentations of the Anthropic SDK take a stream's counts as its types say: the `usage` of message_delta is cumulative and
#   replaces that of message_start.
# Reality: OpenLLMetry's adds the output tokens of message_start to those of message_delta: 1 and then 5 are recorded as 6, while Logfire
#   and OpenInference record 5. Without a stream all three say 5.
# Versions: opentelemetry-instrumentation-anthropic 0.62.4, openinference-instrumentation-anthropic 3.1.0, logfire 5.4.0, anthropic 2.14.0; a stub
#   server on this machine's loopback, no exporter.
# For a server author: send 0 output tokens in message_start and one message_delta with the count, or this dashboard counts twice, by how
#   much depends on what the server happened to have made when it began.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check anthropic==2.14.0 logfire==5.4.0 opentelemetry-instrumentation-anthropic==0.62.4 \
    openinference-instrumentation-anthropic==3.1.0
cat > t.py <<'PY'
import json, sys, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
import anthropic
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

which, at_start, expected = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        message = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [{"type": "text", "text": "a"}],
                   "stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 10, "output_tokens": 5}}
        begun = {**message, "content": [], "stop_reason": None, "usage": {"input_tokens": 10, "output_tokens": at_start}}
        events = [("message_start", {"message": begun}),
                  ("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}),
                  ("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": "a"}}),
                  ("content_block_stop", {"index": 0}),
                  ("message_delta", {"delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 5}}),
                  ("message_stop", {})]
        body = "".join(f"event: {name}\ndata: {json.dumps({'type': name, **rest})}\n\n" for name, rest in events)
        body = (body if asked.get("stream") else json.dumps(message)).encode()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream" if asked.get("stream") else "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass

server = HTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
spans = InMemorySpanExporter()
processor = SimpleSpanProcessor(spans)
if which == "logfire":
    import logfire
    logfire.configure(send_to_logfire=False, console=False, additional_span_processors=[processor])
    logfire.instrument_anthropic()
else:
    provider = TracerProvider()
    provider.add_span_processor(processor)
    if which == "openinference":
        from openinference.instrumentation.anthropic import AnthropicInstrumentor
    else:
        from opentelemetry.instrumentation.anthropic import AnthropicInstrumentor
    AnthropicInstrumentor().instrument(tracer_provider=provider)
client = anthropic.Anthropic(base_url=f"http://127.0.0.1:{server.server_port}", api_key="none", max_retries=0)
asked = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
seen = []
for stream in (False, True):
    spans.clear()
    answer = client.messages.create(stream=stream, **asked)
    for _ in answer if stream else (): pass
    names = ("gen_ai.usage.output_tokens", "llm.token_count.completion")
    seen += [value for span in spans.get_finished_spans() for name, value in span.attributes.items() if name in names]
print(f"{which}: plain {seen[0]}, streamed {seen[1]} (message_start {at_start}, message_delta 5)")
assert seen == [5, expected], seen
PY
for row in "logfire 1 5" "openinference 1 5" "openllmetry 1 6" "openllmetry 0 5"; do
    v/bin/python t.py $row 2> err.txt || { cat err.txt >&2; exit 1; }
done
