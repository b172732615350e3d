#!/usr/bin/env bash
# Guess: frameworks on OpenAI's SDK keep its 600 seconds and two repetitions, so a local model has ten minutes for an answer.
# Reality: LlamaIndex waits 60 seconds for an answer and Haystack 30, unstreamed ones too, and both then ask again: 12 and 6 times in all.
#   LlamaIndex repeats around the SDK, which repeats inside. A prompt that takes longer never gets an answer, and is computed 12 times.
# Versions: llama-index-llms-openai-like 0.8.1, llama-index-core 0.14.25, haystack-ai 3.4.1, openai 3.57.0 (PyPI); a stub server on this
#   machine's loopback, which stalls or refuses. The SDK states its limit in the header `x-stainless-read-timeout`.
# For a server author: stop computing when the connection closes, and name `timeout` and `max_retries` in the instructions.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
for name in llama haystack; do python3 -m venv $name; done
llama/bin/pip install -q --disable-pip-version-check llama-index-llms-openai-like==0.8.1 llama-index-core==0.14.25
haystack/bin/pip install -q --disable-pip-version-check haystack-ai==3.4.1 openai==3.57.0
cat > t.py <<'PY'
import json, subprocess, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

limits = []

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        limits.append(float(self.headers["x-stainless-read-timeout"]))
        if self.path.startswith("/stalls/"):
            time.sleep(4)
        data = json.dumps({"error": {"message": "busy"}}).encode()
        try:
            self.send_response(503)
            for name, value in [("content-type", "application/json"), ("content-length", len(data)), ("retry-after-ms", 5)]:
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(data)
        except BrokenPipeError:
            pass
    def log_message(self, *_): pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
for client, command, limit, times in [("llama-index", "llama/bin/python llama_client.py", 60, 12), ("haystack", "haystack/bin/python haystack_client.py", 30, 6),
                                      ("openai", "haystack/bin/python openai_client.py", 600, 3)]:
    for path, timeout in [("refuses", None), ("stalls", 1)]:
        limits.clear()
        url = f"http://127.0.0.1:{server.server_port}/{path}/v1"
        done = subprocess.run([*command.split(), url, json.dumps({"timeout": timeout} if timeout else {})], capture_output=True, text=True, timeout=200)
        error = done.stdout.strip()
        print(f"{client}, the server {path}, timeout {timeout or 'not given'}: asked {len(limits)} times, each for {limits[0]} s, then {error}")
        assert error == ("APITimeoutError" if timeout else "InternalServerError"), (error, done.stderr)
        assert limits == [timeout or limit] * times, limits
PY
cat > llama_client.py <<'PY'
import json, sys
from llama_index.llms.openai_like import OpenAILike
try:
    OpenAILike(model="m", api_base=sys.argv[1], api_key="none", is_chat_model=True, **json.loads(sys.argv[2])).complete("x")
except Exception as error:
    print(type(error).__name__)
PY
cat > haystack_client.py <<'PY'
import json, sys
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.dataclasses import ChatMessage
from haystack.utils import Secret
try:
    OpenAIChatGenerator(model="m", api_base_url=sys.argv[1], api_key=Secret.from_token("none"), **json.loads(sys.argv[2])).run([ChatMessage.from_user("x")])
except Exception as error:
    print(type(error).__name__)
PY
cat > openai_client.py <<'PY'
import json, sys
import openai
try:
    openai.OpenAI(base_url=sys.argv[1], api_key="none", **json.loads(sys.argv[2])).chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])
except Exception as error:
    print(type(error).__name__)
PY
python3 t.py
