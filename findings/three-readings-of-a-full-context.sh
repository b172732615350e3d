#!/usr/bin/env bash
# Guess: clients know by `code: "context_length_exceeded"` that a prompt is too long, so that a larger model is asked or the history is cut.
# Reality: only Pydantic AI and LiteLLM's `hosted_vllm/` read the code. LangChain looks for it in the text of the error, where OpenAI's SDK 3 does not write it. For
#   `openai/` LiteLLM wants one of its known phrases: else the error is a plain bad request, and `context_window_fallbacks` of its router asks nobody; for
#   `ollama_chat/` and `openrouter/` it is one whatever the words. Each knows other phrases: OpenAI's older words mean nothing to LangChain, "prompt is too long"
#   nothing to Pydantic AI. The code together with "prompt is too long" is understood by all three.
# Versions: litellm 1.110.2, langchain-openai 1.7.4, langchain-core 1.8.3, pydantic-ai-slim 2.68.0, openai 3.57.0 (PyPI); a stub server on this machine's loopback.
# For a server author: send the code, and begin the message with "prompt is too long". A test that checks the code alone misses half of the clients.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check litellm==1.110.2 langchain-openai==1.7.4 langchain-core==1.8.3 pydantic-ai-slim==2.68.0 openai==3.57.0
cat > t.py <<'PY'
import json, os, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm
from langchain_core.exceptions import ContextOverflowError
from langchain_openai import ChatOpenAI
from pydantic_ai import Agent
from pydantic_ai.exceptions import ModelContextWindowExceededError
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

litellm.suppress_debug_info = True
print({name: version(name) for name in ("litellm", "langchain-openai", "langchain-core", "pydantic-ai-slim", "openai")})
refusal, asked = {}, []

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        model = json.loads(self.rfile.read(int(self.headers["content-length"])))["model"]
        asked.append(model)
        choice = {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}
        answer = {"id": "c", "object": "chat.completion", "created": 1, "model": model, "choices": [choice]}
        data = json.dumps(answer if model == "large" else {"error": {"type": "invalid_request_error", "param": "messages", **refusal}}).encode()
        self.send_response(200 if model == "large" else 400)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def log_message(self, *_): pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
root = f"http://127.0.0.1:{server.server_port}"

def by_litellm(prefix):
    base = root if prefix == "ollama_chat" else root + "/v1"
    litellm.completion(model=prefix + "/m", api_base=base, api_key="none", messages=[{"role": "user", "content": "Hi"}])

def by_router():
    models = [{"model_name": name, "litellm_params": {"model": "openai/" + name, "api_base": root + "/v1", "api_key": "none"}} for name in ("m", "large")]
    litellm.Router(models, context_window_fallbacks=[{"m": ["large"]}], num_retries=0).completion(model="m", messages=[{"role": "user", "content": "Hi"}])

def by_langchain():
    ChatOpenAI(model="m", base_url=root + "/v1", api_key="none").invoke("Hi")

def by_pydantic_ai():
    Agent(OpenAIChatModel("m", provider=OpenAIProvider(base_url=root + "/v1", api_key="none"))).run_sync("Hi")

def understood(ask, *arguments):
    try:
        ask(*arguments)
    except (litellm.ContextWindowExceededError, ContextOverflowError, ModelContextWindowExceededError):
        return True
    except Exception:
        return False

CODE = {"code": "context_length_exceeded"}
clients = [(by_litellm, prefix) for prefix in ("openai", "hosted_vllm", "lm_studio", "ollama_chat", "openrouter")] + [(by_langchain,), (by_pydantic_ai,)]
for body, expected in (
    ({**CODE, "message": "The prompt has 5000 tokens, and the model takes 4096."}, "-v----P"),
    ({"code": None, "message": "prompt is too long: 5000 tokens > 4096 maximum"}, "ovl--L-"),
    ({"code": None, "message": "This model's maximum context length is 4096 tokens. However, your messages resulted in 5000 tokens."}, "ovl---P"),
    ({**CODE, "message": "prompt is too long: 5000 tokens > 4096 maximum"}, "ovl--LP"),
):
    refusal.clear()
    refusal.update(body)
    seen = {" ".join([client[0].__name__, *client[1:]]): understood(*client) for client in clients}
    asked.clear()
    understood(by_router)
    print(body, "is understood", seen, "; the router asks", asked)
    assert [letter != "-" for letter in expected] == list(seen.values()), seen
    assert asked == (["m", "large"] if expected[0] == "o" else ["m"]), asked
PY
v/bin/python t.py 2> err.txt || { cat err.txt >&2; exit 1; }
