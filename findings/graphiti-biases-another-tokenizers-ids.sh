#!/usr/bin/env bash
# Guess: Graphiti's reranker works with any server that has log probabilities, and what is neither True nor False has no score.
# Reality: each request biases the ids 6432 and 7983, which are " True" and " False" in o200k_base alone; in cl100k_base they are "ospital" and "Variable", in a
#   local model's vocabulary something else again. One token is asked for, and whatever it is, other than "true", scores 1 - p: a "Yes" with 99 % makes 0.01, an
#   "Okay" with 30 % makes 0.7 and wins over a "True" with 60 %. Without log probabilities it raises ValueError. Also, with openai 3 the package cannot be
#   imported until httpx is installed, which it does not require.
# Versions: graphiti-core 0.31.2, openai 3.57.0, httpx 0.28.1 (PyPI), gpt-tokenizer 4.0.0 (npm); a stub server on this machine's loopback.
# For a server author: a model that thinks or chats first makes the order of the results random, with no error. `logit_bias` of a client is a hint at which
#   tokenizer it means.
# Grounds: deep
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-fund --no-audit gpt-tokenizer@4.0.0 > /dev/null
cat > t.mjs <<'JS'
import assert from 'node:assert';
const texts = {};
for (const name of ['o200k_base', 'cl100k_base']) {
  const { decode } = await import(`gpt-tokenizer/encoding/${name}`);
  texts[name] = [decode([6432]), decode([7983])];
}
console.log('6432 and 7983:', JSON.stringify(texts));
assert.deepEqual(texts, { o200k_base: [' True', ' False'], cl100k_base: ['ospital', 'Variable'] });
JS
node t.mjs
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check graphiti-core==0.31.2 openai==3.57.0
if v/bin/python -c 'import graphiti_core' 2> error; then exit 1; fi
tail -n 1 error
grep -q "No module named 'httpx'" error
v/bin/pip install -q --disable-pip-version-check httpx==0.28.1
cat > t.py <<'PY'
import asyncio, json, logging, math, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from graphiti_core.cross_encoder.openai_reranker_client import OpenAIRerankerClient
from graphiti_core.llm_client.config import LLMConfig

logging.disable(logging.ERROR)
print({name: version(name) for name in ("graphiti-core", "openai", "httpx")})
asked, answers = [], {}

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        asked.append(body)
        token, chance = next(answer for passage, answer in answers.items() if passage in body["messages"][1]["content"])
        one = {"token": token, "logprob": math.log(chance or 1), "bytes": list(token.encode())}
        choice = {"index": 0, "message": {"role": "assistant", "content": token}, "finish_reason": "length"}
        if chance:
            choice["logprobs"] = {"content": [{**one, "top_logprobs": [one]}]}
        usage = {"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8}
        data = json.dumps({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def log_message(self, *_): pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()

def rank(given):
    answers.clear()
    answers.update(given)
    client = OpenAIRerankerClient(LLMConfig(api_key="none", base_url=f"http://127.0.0.1:{server.server_port}/v1", model="m"))
    try:
        return [(passage, round(float(score), 2)) for passage, score in asyncio.run(client.rank("q", list(given)))]
    except ValueError as error:
        return str(error)

ranked = rank({"passage A": ("True", 0.6), "passage B": ("False", 0.9), "passage C": ("Okay", 0.3), "passage D": ("Yes", 0.99)})
settings = {name: value for name, value in asked[0].items() if name != "messages"}
print("each request:", settings)
print("A is True (0.6), B False (0.9), C Okay (0.3), D Yes (0.99):", ranked)
assert settings["logit_bias"] == {"6432": 1, "7983": 1} and settings["max_tokens"] == 1 and settings["top_logprobs"] == 2, settings
assert ranked == [("passage C", 0.7), ("passage A", 0.6), ("passage B", 0.1), ("passage D", 0.01)], ranked
without = rank({"passage A": ("True", None)})
print("without log probabilities:", without)
assert without.startswith("zip()"), without
PY
v/bin/python t.py
