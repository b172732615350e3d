#!/usr/bin/env bash
# Guess: what `opentelemetry-bootstrap` names for the installed OpenAI SDK traces it, or fails loudly.
# Reality: it names opentelemetry-instrumentation-openai-v2, whose newest release cannot be imported: it wants httpx, which OpenAI's SDK 3 no longer brings (it
#   has httpx2), and with httpx a module of opentelemetry-util-genai that the newest release, which pip takes, does not have. `opentelemetry-instrument` skips it
#   without a word: the program runs, and there is not one span. The successor has another name, opentelemetry-instrumentation-genai-openai, and traces the same
#   program.
# Versions: opentelemetry-instrumentation 0.66b2 (opentelemetry-distro 0.66b2), opentelemetry-instrumentation-openai-v2 2.4b0, opentelemetry-util-genai 1.3b0,
#   opentelemetry-instrumentation-genai-openai 1.3b0, openai 3.57.0, httpx 0.28.1 (PyPI); a stub server on this machine's loopback.
# For a server author: "the server gets no traceparent" after a rebuild of the client's image. Instructions should name the new package.
# Grounds: new
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
for name in named successor; do
    python3 -m venv $name
    $name/bin/pip install -q --disable-pip-version-check openai==3.57.0 opentelemetry-distro==0.66b2
done
named=$(named/bin/opentelemetry-bootstrap -a requirements)
echo "opentelemetry-bootstrap names: $(grep openai <<< "$named")"
grep -q '^opentelemetry-instrumentation-openai-v2' <<< "$named"
[ "$(grep -c openai <<< "$named")" -eq 1 ]
named/bin/pip install -q --disable-pip-version-check opentelemetry-instrumentation-openai-v2==2.4b0 opentelemetry-util-genai==1.3b0
successor/bin/pip install -q --disable-pip-version-check opentelemetry-instrumentation-genai-openai==1.3b0 opentelemetry-util-genai==1.3b0
cat > program.py <<'PY'
import json, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
import openai

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        choice = {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}
        body = json.dumps({"id": "c", "created": 1, "model": "local", "object": "chat.completion", "choices": [choice]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass

server = HTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = openai.OpenAI(base_url=f"http://127.0.0.1:{server.server_port}/v1", api_key="none")
print("answer:", client.chat.completions.create(model="local", messages=[{"role": "user", "content": "Hi"}]).choices[0].message.content)
PY
export OTEL_TRACES_EXPORTER=console OTEL_METRICS_EXPORTER=none OTEL_LOGS_EXPORTER=none
run() {
    "$1/bin/opentelemetry-instrument" "$1/bin/python" program.py > output 2> errors
    grep -q '^answer: Hello' output
}
reason() {
    named/bin/python -c 'import opentelemetry.instrumentation.openai_v2' 2>&1 | tail -n 1 || true
}
for missing in "No module named 'httpx'" "No module named 'opentelemetry.util.genai.instruments'"; do
    run named
    spans=$(grep -c '"trace_id"' output || true)
    why=$(reason)
    echo "openai-v2: $spans spans, $(wc -w < errors) words on stderr, import: $why"
    [ "$spans" -eq 0 ]
    [ ! -s errors ]
    [ "$why" = "ModuleNotFoundError: $missing" ]
    named/bin/pip install -q --disable-pip-version-check httpx==0.28.1
done
run successor
echo "genai-openai: $(grep '"name"' output)"
grep -q '"name": "chat local"' output
