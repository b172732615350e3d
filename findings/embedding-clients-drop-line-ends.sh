#!/usr/bin/env bash
# Guess: an embedding client sends the text; two clients of one server have the same vector for the same text.
# Reality: LlamaIndex and LangChain for JavaScript make a space of every line end, so code, tables and lists are embedded as one line.
#   Haystack and OpenAI's SDK send the text. An index filled by one and searched by another compares vectors of different texts.
# Versions: llama-index-embeddings-openai 0.7.0, haystack-ai 3.4.1, openai 3.57.0 (PyPI), @langchain/openai 1.5.8, @langchain/core 1.4.0
#   (npm); a stub server on this machine's loopback.
# For a server author: a comparison of vectors "between servers" may compare two clients. Look at the request. `stripNewLines: false`
#   stops LangChain; LlamaIndex has no such switch.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
for name in llama haystack; do python3 -m venv $name; done
llama/bin/pip install -q --disable-pip-version-check llama-index-embeddings-openai==0.7.0 llama-index-core==0.14.25
haystack/bin/pip install -q --disable-pip-version-check haystack-ai==3.4.1 openai==3.57.0
npm install --silent --no-fund --no-audit @langchain/openai@1.5.8 @langchain/core@1.4.0 > /dev/null
npm ls --depth=0 | grep @
cat > t.py <<'PY'
import json, subprocess, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TEXT = "def one():\n    return 1\n\n| a |\r\n| b |"
asked = []

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        inputs = json.loads(self.rfile.read(int(self.headers["content-length"])))["input"]
        asked.extend(inputs if isinstance(inputs, list) else [inputs])
        body = {"object": "list", "model": "m", "data": [{"object": "embedding", "index": 0, "embedding": [0.5, 0.5]}], "usage": {"prompt_tokens": 1, "total_tokens": 1}}
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def log_message(self, *_): pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/v1"
for command, line_end in [("llama/bin/python llama_client.py", " "), ("node langchain.mjs strip", " "), ("node langchain.mjs keep", "\n"),
                       ("haystack/bin/python haystack_client.py", "\n"), ("haystack/bin/python openai_client.py", "\n")]:
    asked.clear()
    done = subprocess.run([*command.split(), url, TEXT], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and asked, done.stderr
    print(f"{command}: {asked}")
    assert all(text == TEXT.replace("\n", line_end) for text in asked)
PY
cat > llama_client.py <<'PY'
import sys
from llama_index.embeddings.openai import OpenAIEmbedding
model = OpenAIEmbedding(model_name="m", api_base=sys.argv[1], api_key="none")
model.get_text_embedding(sys.argv[2])
model.get_query_embedding(sys.argv[2])
PY
cat > langchain.mjs <<'JS'
import { OpenAIEmbeddings } from "@langchain/openai";
const [how, baseURL, text] = process.argv.slice(2);
const model = new OpenAIEmbeddings({ model: "m", apiKey: "none", configuration: { baseURL }, ...(how === "keep" ? { stripNewLines: false } : {}) });
await model.embedQuery(text);
await model.embedDocuments([text]);
JS
cat > haystack_client.py <<'PY'
import sys
from haystack.components.embedders import OpenAITextEmbedder
from haystack.utils import Secret
OpenAITextEmbedder(model="m", api_base_url=sys.argv[1], api_key=Secret.from_token("none")).run(sys.argv[2])
PY
cat > openai_client.py <<'PY'
import sys
import openai
openai.OpenAI(base_url=sys.argv[1], api_key="none").embeddings.create(model="m", input=sys.argv[2])
PY
python3 t.py
