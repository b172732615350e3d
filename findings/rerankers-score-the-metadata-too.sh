#!/usr/bin/env bash
# Guess: a framework's reranker sends the query and the documents' texts, and finds the server at its base URL in one way.
# Reality: LlamaIndex' rerankers for Cohere's and Jina's protocol put every metadata field in front of the text ("file: a.txt" and so on), its reranker for TEI sends the
#   text alone, as LangChain and Haystack do: one model orders the same passages otherwise. The base URL is the root for Cohere's, takes /v1 for LlamaIndex' Jina, TEI and
#   Voyage, and is the whole address for Haystack's Jina. Voyage's client limits by `top_k` and reads `data`, TEI's a bare list, the others `top_n` and `results`.
# Versions: llama-index-postprocessor-cohere-rerank 0.10.0, -jinaai-rerank 0.6.0, -tei-rerank 0.6.0, langchain-cohere 0.6.0, cohere-haystack 11.0.0, jina-haystack 2.0.1,
#   voyageai 0.5.0, cohere 5.21.1 (PyPI); a stub server on this machine's loopback.
# For a server author: a path or an author's name counts against the query, and against the length of the pair. `excluded_embed_metadata_keys` of a node keeps a field out.
# Grounds: far
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check llama-index-postprocessor-cohere-rerank==0.10.0 llama-index-postprocessor-jinaai-rerank==0.6.0 \
  llama-index-postprocessor-tei-rerank==0.6.0 langchain-cohere==0.6.0 cohere-haystack==11.0.0 jina-haystack==2.0.1 voyageai==0.5.0 cohere==5.21.1
cat > t.py <<'PY'
import json, os, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
os.environ.update(HAYSTACK_TELEMETRY_ENABLED="false", CO_API_KEY="none")
from haystack import Document as Passage
from haystack.utils import Secret
from haystack_integrations.components.rankers.cohere import CohereRanker
from haystack_integrations.components.rankers.jina import JinaRanker
from langchain_cohere import CohereRerank as LangChainCohere
from langchain_core.documents import Document
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.postprocessor.cohere_rerank import CohereRerank
from llama_index.postprocessor.jinaai_rerank import JinaRerank
from llama_index.postprocessor.tei_rerank import TextEmbeddingInference
import voyageai

print({name: version(name) for name in ("llama-index-postprocessor-cohere-rerank", "llama-index-postprocessor-jinaai-rerank", "llama-index-postprocessor-tei-rerank",
                                        "langchain-cohere", "cohere-haystack", "jina-haystack", "voyageai", "cohere")})
asked = []

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        asked.append((self.path, body))
        found = [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.2}]
        answer = {"id": "r", "model": "m", "results": found, "data": found, "usage": {"total_tokens": 9}, "meta": {"api_version": {"version": "2"}}}
        data = json.dumps([{"index": one["index"], "score": one["relevance_score"]} for one in found] if "texts" in body else answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def log_message(self, *_): pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
root = f"http://127.0.0.1:{server.server_port}"
META = {"file": "a.txt", "author": "Ada"}

def llama_index(made, **more):
    nodes = [NodeWithScore(node=TextNode(text=text, metadata=META, **more), score=0.5) for text in ("one", "two")]
    assert [node.node.text for node in made.postprocess_nodes(nodes, QueryBundle("q"))] == ["two", "one"]

def langchain(base):
    LangChainCohere(cohere_api_key="none", model="m", base_url=base).compress_documents([Document(page_content=text, metadata=META) for text in ("one", "two")], "q")

def haystack(made):
    made.run("q", [Passage(content=text, meta=META) for text in ("one", "two")])

key = Secret.from_token("none")
WITH = "file: a.txt\nauthor: Ada\n\none"
for name, ask, path, text in (
    ("LlamaIndex, Cohere", lambda base: llama_index(CohereRerank(api_key="none", model="m", base_url=base)), "/v2/rerank", WITH),
    ("LlamaIndex, Jina", lambda base: llama_index(JinaRerank(api_key="none", model="m", base_url=base)), "/rerank", WITH),
    ("LlamaIndex, Jina, excluded", lambda base: llama_index(JinaRerank(api_key="none", model="m", base_url=base), excluded_embed_metadata_keys=[*META]), "/rerank", "one"),
    ("LlamaIndex, TEI", lambda base: llama_index(TextEmbeddingInference(model_name="m", base_url=base)), "/rerank", "one"),
    ("LangChain, Cohere", langchain, "/v2/rerank", "one"),
    ("Haystack, Cohere", lambda base: haystack(CohereRanker(model="m", api_base_url=base, api_key=key)), "/v2/rerank", "one"),
    ("Haystack, Jina", lambda base: haystack(JinaRanker(model="m", base_url=base, api_key=key)), "", "one"),
    ("Voyage", lambda base: voyageai.Client(api_key="none", base_url=base).rerank("q", ["one", "two"], model="m", top_k=2), "/rerank", "one"),
):
    asked.clear()
    ask(root + "/base")
    sent = asked[0][1]
    print(f"{name}: asks base{asked[0][0].removeprefix('/base')} with {sent}")
    assert asked[0][0] == "/base" + path and (sent.get("documents") or sent["texts"])[0] == text, asked
    assert ("top_k" in sent) == (name == "Voyage")
PY
v/bin/python t.py 2> err.txt || { cat err.txt >&2; exit 1; }
