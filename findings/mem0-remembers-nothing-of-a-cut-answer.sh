#!/usr/bin/env bash
# Guess: Mem0's `add` raises, or asks again, when the model's answer was cut or empty, and leaves sampling to the server.
# Reality: it returns {"results": []}, as if the text had nothing to remember, with one line in the log for a cut answer and none for an empty one; facts that
#   stood whole before the cut are lost too. It is easily reached: each call, of three words, sends instructions of 33,600 characters and allows 2000 tokens for
#   reasoning and answer together, with temperature 0.1 and top_p 0.1, at Ollama's API as at OpenAI's. Neither gets the schema.
# Versions: mem0ai 2.2.1, ollama 0.6.3, openai 3.57.0, qdrant-client 1.20.0 (PyPI); a stub server on this machine's loopback.
# For a server author: a memory that stays empty is a limit that thinking has used up. Look for `length`; raise `max_tokens` or turn thinking off.
# Grounds: costly
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check mem0ai==2.2.1 ollama==0.6.3 openai==3.57.0 qdrant-client==1.20.0
cat > t.py <<'PY'
import json, os, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
os.environ.update(MEM0_TELEMETRY="False", MEM0_DIR=os.path.join(os.getcwd(), "mem0"))
from mem0 import Memory

print({name: version(name) for name in ("mem0ai", "ollama", "openai", "qdrant-client")})
asked, answer = [], []

def reply(path, body):
    if path == "/api/tags":
        return {"models": [{"name": "m:latest", "model": "m:latest", "modified_at": "2026-11-30T12:00:00Z", "size": 1, "digest": "d", "details": {}}]}
    vectors = [[0.1] * 8] * (len(body["input"]) if isinstance(body.get("input"), list) else 1)
    if path == "/api/embed":
        return {"model": "m", "embeddings": vectors}
    if path == "/v1/embeddings":
        return {"object": "list", "model": "m", "data": [{"object": "embedding", "index": n, "embedding": one} for n, one in enumerate(vectors)],
                "usage": {"prompt_tokens": 1, "total_tokens": 1}}
    asked.append(body)
    text, reason = answer
    message = {"role": "assistant", "content": text}
    if path == "/api/chat":
        return {"model": "m", "created_at": "2026-11-30T12:00:00Z", "message": message, "done": True, "done_reason": reason, "eval_count": 2000}
    usage = {"prompt_tokens": 8000, "completion_tokens": 2000, "total_tokens": 10000}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": reason}], "usage": usage}

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        length = int(self.headers.get("content-length") or 0)
        data = json.dumps(reply(self.path, json.loads(self.rfile.read(length) or b"{}"))).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    do_GET = do_POST
    def log_message(self, *_): pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
root = f"http://127.0.0.1:{server.server_port}"
WHOLE = '{"memory": [{"id": "0", "text": "Likes tea"}, {"id": "1", "text": "Lives in Rome"}]}'
for provider, address in (("ollama", {"ollama_base_url": root}), ("openai", {"openai_base_url": root + "/v1", "api_key": "none"})):
    memory = Memory.from_config({
        "llm": {"provider": provider, "config": {"model": "m", **address}},
        "embedder": {"provider": provider, "config": {"model": "m", "embedding_dims": 8, **address}},
        "vector_store": {"provider": "qdrant", "config": {"path": os.path.join(os.getcwd(), provider), "embedding_model_dims": 8}},
        "history_db_path": os.path.join(os.getcwd(), provider + ".db"),
    })
    for name, text, reason, expected in (("whole", WHOLE, "stop", ["Likes tea", "Lives in Rome"]), ("cut", WHOLE[:-10], "length", []), ("empty", "", "length", [])):
        answer[:] = text, reason
        asked.clear()
        result = memory.add("I like tea", user_id=name)
        body = asked[0]
        settings = body.get("options") or {key: body[key] for key in ("max_tokens", "temperature", "top_p")}
        print(f"{provider}, {name}:", result if not expected else [one["memory"] for one in result["results"]], "| requests:", len(asked))
        assert [one["memory"] for one in result["results"]] == expected and len(asked) == 1 and list(result) == ["results"], result
        assert (settings["temperature"], settings["top_p"], settings.get("num_predict", settings.get("max_tokens"))) == (0.1, 0.1, 2000), settings
    shape = body.get("format") or body.get("response_format")
    length = len(body["messages"][0]["content"])
    print(f"  settings {settings}, format {shape}, instructions of {length} characters")
    assert shape in ("json", {"type": "json_object"}) and length > 33000
PY
v/bin/python t.py
