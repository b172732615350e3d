#!/usr/bin/env bash
# Guess: OpenAIEmbeddings with the `base_url` of a server on this machine sends it the text and asks no one else.
# Reality: it first fetches OpenAI's vocabulary from a host of Microsoft's, whatever the model's name, and without a network it raises
#   before the server is asked. With the vocabulary it sends numbers of OpenAI's tokens, which another model reads as other words.
#   `check_embedding_ctx_length=False` sends the text and asks nobody. ChatOpenAI beside it needs no network.
# Versions: langchain-openai 1.7.4, langchain-core 1.8.3, openai 3.57.0, tiktoken 0.14.0 (PyPI). A proxy on this machine's loopback
#   writes the host down and refuses, so that nothing leaves the machine; for the numbers the vocabulary is one of 256 bytes.
# For a server author: refuse token arrays, or decode them by that vocabulary; never read them as ids of the model.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check langchain-openai==1.7.4 langchain-core==1.8.3 openai==3.57.0 tiktoken==0.14.0
cat > t.py <<'PY'
import json, os, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

hosts, inputs = [], []

class Stub(BaseHTTPRequestHandler):
    def do_CONNECT(self):
        hosts.append(self.path)
        self.send_error(403)
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        inputs.append(body.get("input", "chat"))
        choices = [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}]
        vector = {"object": "embedding", "index": 0, "embedding": [0.5, 0.5]}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        answer = {"object": "list", "data": [vector]} if "input" in body else {"id": "c", "object": "chat.completion", "created": 1, "choices": choices}
        data = json.dumps({"model": "m", "usage": usage, **answer}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def log_message(self, *_): pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
here = f"http://127.0.0.1:{server.server_port}"
for name in ("HTTP_PROXY", "HTTPS_PROXY"):
    os.environ[name] = os.environ[name.lower()] = here
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
os.environ["TIKTOKEN_CACHE_DIR"] = os.path.abspath("vocabulary")

import tiktoken
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

print({name: version(name) for name in ("langchain-openai", "tiktoken")})
def embed(**settings):
    hosts.clear(), inputs.clear()
    try:
        seen = OpenAIEmbeddings(model="bge-small", base_url=f"{here}/v1", api_key="none", **settings).embed_query("red fox")
    except Exception as error:
        seen = type(error).__name__
    print(f"{settings}: asks the hosts {sorted(set(hosts))}, sends {inputs}, gives {seen}")
    return sorted(set(hosts)), inputs, seen

assert ChatOpenAI(model="m", base_url=f"{here}/v1", api_key="none").invoke("x").content == "hello" and not hosts
assert embed() == (["openaipublic.blob.core.windows.net:443"], [], "ProxyError")
assert embed(check_embedding_ctx_length=False) == ([], [["red fox"]], [0.5, 0.5])
ranks = {bytes([byte]): byte for byte in range(256)}
tiktoken.get_encoding = lambda _: tiktoken.Encoding("bytes", pat_str=r".", mergeable_ranks=ranks, special_tokens={})
assert embed() == ([], [[list(b"red fox")]], [0.5, 0.5])
PY
v/bin/python t.py
