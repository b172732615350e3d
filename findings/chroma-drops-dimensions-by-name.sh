#!/usr/bin/env bash
# Guess: `dimensions=256` of an embedding class for OpenAI's protocol is sent, and the server shortens the vectors or refuses.
# Reality: Chroma sends it only if the model's name has "text-embedding-3" in it. For any other name it is dropped without a word, and stays in the settings
#   that a collection stores: vectors are four times as wide as stated there. Haystack's and LlamaIndex' classes send it.
# Versions: chromadb-client 1.5.9, haystack-ai 3.4.1, llama-index-embeddings-openai-like 0.4.0, openai 3.57.0 (PyPI); a stub server on this machine's loopback
#   shortens vectors if asked.
# For a server author: "the server ignores dimensions" may be the client. An alias such as `text-embedding-3-local` gets the parameter through.
# Grounds: far
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check chromadb-client==1.5.9 haystack-ai==3.4.1 llama-index-embeddings-openai-like==0.4.0 openai==3.57.0
cat > t.py <<'PY'
import base64, json, os, struct, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
os.environ.update(OPENAI_API_KEY="none", HAYSTACK_TELEMETRY_ENABLED="False", ANONYMIZED_TELEMETRY="False")
from chromadb.utils.embedding_functions.openai_embedding_function import OpenAIEmbeddingFunction
from haystack.components.embedders import OpenAITextEmbedder
from haystack.utils import Secret
from llama_index.embeddings.openai_like import OpenAILikeEmbedding

print({name: version(name) for name in ("chromadb-client", "haystack-ai", "llama-index-embeddings-openai-like", "openai")})
asked = []

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        width = asked[-1].get("dimensions", 1024)
        vector = [1.0] + [0.0] * (width - 1)
        if asked[-1].get("encoding_format") == "base64":
            vector = base64.b64encode(struct.pack(f"<{width}f", *vector)).decode()
        texts = asked[-1]["input"] if isinstance(asked[-1]["input"], list) else [asked[-1]["input"]]
        data = [{"object": "embedding", "index": index, "embedding": vector} for index, _ in enumerate(texts)]
        body = json.dumps({"object": "list", "model": asked[-1]["model"], "data": data, "usage": {"prompt_tokens": 2, "total_tokens": 2}}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
base = f"http://127.0.0.1:{server.server_port}/v1"

def chroma(model):
    function = OpenAIEmbeddingFunction(model_name=model, api_base=base, dimensions=256)
    assert function.get_config()["dimensions"] == 256
    return function(["a text"])[0]

def haystack(model):
    embedder = OpenAITextEmbedder(model=model, api_base_url=base, dimensions=256, api_key=Secret.from_token("none"))
    return embedder.run("a text")["embedding"]

def llama_index(model):
    return OpenAILikeEmbedding(model_name=model, api_base=base, api_key="none", dimensions=256).get_text_embedding("a text")

for client, model, expected in [
    (chroma, "qwen3-embedding", 1024), (chroma, "text-embedding-3-local", 256),
    (haystack, "qwen3-embedding", 256), (llama_index, "qwen3-embedding", 256),
]:
    width = len(client(model))
    print(f"{client.__name__}, {model}: sent {asked[-1].get('dimensions')}, width {width}")
    assert width == expected and asked[-1].get("dimensions") == (256 if expected == 256 else None)
PY
v/bin/python t.py
