#!/usr/bin/env bash
# Guess: DeepEval's G-Eval weighs its score by the judge's log probabilities, as its paper says, and asks for JSON by a schema, if the server can do both.
# Reality: the judge's name decides. `LocalModel`, and `OpenAIModel` with a name that it does not know, send neither schema nor `logprobs`: the score is the number in the
#   text. Under the name "gpt-4.1" the same server is asked for `json_schema` and 20 log probabilities, and the same answer scores otherwise: 0.78 for 0.7 here.
#   A threshold of 0.75 is passed or not by the name.
# Versions: deepeval 4.3.1, openai 3.57.0 (PyPI); a stub server on this machine's loopback, which gives log probabilities to those who ask.
# For a server author: scores of a local judge come in tenths. An alias with a known name gets the weighing, and its price: `evaluation_cost` is counted in dollars.
# Grounds: costly
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check deepeval==4.3.1 openai==3.57.0
cat > t.py <<'PY'
import json, math, os, threading, warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
warnings.simplefilter("ignore")
os.environ.update(DEEPEVAL_TELEMETRY_OPT_OUT="YES", DEEPEVAL_DISABLE_DOTENV="1", OPENAI_API_KEY="none", HOME=os.getcwd())
from deepeval.metrics import GEval
from deepeval.models import LocalModel, OpenAIModel
from deepeval.test_case import LLMTestCase, SingleTurnParams

print({name: version(name) for name in ("deepeval", "openai")})
asked = []
ANSWER = '{"score": 7, "reason": "right"}'

def token(text, *likely):
    others = [{"token": other, "logprob": math.log(share), "bytes": None} for other, share in likely]
    return {"token": text, "logprob": math.log(likely[0][1]), "bytes": None, "top_logprobs": others}

# The judge gives 7 with 60 per cent and 9 with 40 per cent: 7.8 on average.
TOKENS = [token('{"score": ', ('{"score": ', 0.999)), token("7", ("7", 0.6), ("9", 0.4)), token(', "reason": "right"}', (', "reason": "right"}', 0.999))]

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        asked.append(body)
        steps = len(asked) == 1
        choice = {"index": 0, "message": {"role": "assistant", "content": '{"steps": ["Read it."]}' if steps else ANSWER}, "finish_reason": "stop"}
        choice["logprobs"] = {"content": TOKENS} if body.get("logprobs") else None
        usage = {"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8}
        data = json.dumps({"id": "c", "object": "chat.completion", "created": 1, "model": body["model"], "choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def log_message(self, *_): pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
base = f"http://127.0.0.1:{server.server_port}/v1"

def score(judge):
    asked.clear()
    metric = GEval(name="right", criteria="Is it right?", evaluation_params=[SingleTurnParams.INPUT, SingleTurnParams.ACTUAL_OUTPUT], model=judge, async_mode=False)
    metric.measure(LLMTestCase(input="1 + 1", actual_output="2"), _show_indicator=False)
    return round(metric.score, 3), metric.evaluation_cost

for kind, name, expected in ((LocalModel, "m", 0.7), (OpenAIModel, "m", 0.7), (OpenAIModel, "qwen3-32b", 0.7), (OpenAIModel, "gpt-4.1", 0.78),
                             (LocalModel, "gpt-4.1", 0.7)):
    seen, cost = score(kind(model=name, base_url=base, api_key="none"))
    schemas, weighs = sum("response_format" in body for body in asked), [body.get("top_logprobs") for body in asked if body.get("logprobs")]
    print(f"{kind.__name__} {name}: score {seen}, cost {cost}, {schemas} of {len(asked)} requests with a schema, top_logprobs {weighs}")
    known = expected == 0.78
    assert (seen, schemas, weighs, bool(cost)) == (expected, int(known), [20] if known else [], known), (seen, schemas, weighs, cost)
PY
v/bin/python t.py 2> err.txt || { cat err.txt >&2; exit 1; }
