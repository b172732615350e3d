#!/usr/bin/env bash
# Guess: mlflow-tracing records calls once `set_tracking_uri` and `mlflow.openai.autolog()` are there, in the default experiment or in that of
#   MLFLOW_EXPERIMENT_ID, as the whole of MLflow does.
# Reality: no trace leaves the process. Starting a span needs a module that this package leaves out; the NameError becomes a warning, a different one with the
#   variable set, and the model's answer comes as usual. Functions under `@mlflow.trace` are lost in the same way. Traces arrive only after
#   `mlflow.set_experiment(experiment_id=…)`. The module is in mlflow-skinny.
# Versions: mlflow-tracing 3.17.2, openai 3.57.0 (PyPI); a stub server on this machine's loopback is the model and MLflow's server.
# For a server author: no trace does not mean no request. The small package for production behaves otherwise than the one used for development.
# Grounds: far
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check mlflow-tracing==3.17.2 openai==3.57.0
cat > t.py <<'PY'
import json, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
import mlflow
from openai import OpenAI

asked = []

class Stub(BaseHTTPRequestHandler):
    def answer(self, body):
        asked.append(self.path.partition("?")[0])
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def do_GET(self):
        self.answer({"experiment": {"experiment_id": "0", "name": "Default", "lifecycle_stage": "active"}})
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if "trace" in body:
            return self.answer({"trace": {"trace_info": body["trace"]["trace_info"]}})
        choice = {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8}
        self.answer({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage})
    def do_PUT(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.answer({})
    def log_message(self, *_): pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
root = f"http://127.0.0.1:{server.server_port}"
mlflow.set_tracking_uri(root)
if sys.argv[1] == "set":
    mlflow.set_experiment(experiment_id="0")
mlflow.openai.autolog()

@mlflow.trace
def own():
    return 1

reply = OpenAI(base_url=root + "/v1", api_key="none").chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi"}])
own()
mlflow.flush_trace_async_logging()
traces = sum(path.endswith("/mlflow/traces") for path in asked)
print(version("mlflow-tracing"), sys.argv[1:], "| answer:", reply.choices[0].message.content, "| traces that arrived:", traces, "| asked:", sorted(set(asked)))
assert reply.choices[0].message.content == "Hello" and traces == int(sys.argv[2]), traces
PY
unset MLFLOW_EXPERIMENT_ID MLFLOW_EXPERIMENT_NAME MLFLOW_TRACKING_URI
v/bin/python t.py none 0 2> warnings
grep -h "Failed to start span" warnings
grep -q "name 'default_experiment_registry' is not defined" warnings
MLFLOW_EXPERIMENT_ID=0 v/bin/python t.py variable 0 2> warnings
grep -h "Failed to start span" warnings
grep -q "name 'MlflowClient' is not defined" warnings
v/bin/python t.py set 2 2> warnings
if grep "Failed to start span" warnings; then exit 1; fi
