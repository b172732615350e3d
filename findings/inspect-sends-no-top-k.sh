#!/usr/bin/env bash
# Guess: Inspect sends the settings of a run to an OpenAI-compatible server, or warns of those that it does not send, as it does for OpenAI's Responses API.
# Reality: `top_k` and `reasoning_tokens` do not arrive by `openai-api/` and `ollama/`, without a warning: a model whose card asks for top_k 20 is measured with another
#   one. `ollama/` sends the effort as `reasoning.effort`, `openai-api/` as `reasoning_effort`. `openai/` with the same address asks /v1/responses, says "hello, world" to
#   the server first, and drops stop texts and seed with a warning. After a thought and a call without text the history has a line end for text. `extra_body` arrives.
# Versions: inspect-ai 0.3.285, openai 3.57.0 (PyPI); a stub server on this machine's loopback.
# For a server author: scores of two prefixes are no comparison. Set such values in the model's own settings, or by `extra_body`, and look at one request.
# Grounds: costly
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check inspect-ai==0.3.285 openai==3.57.0
cat > t.py <<'PY'
import asyncio, io, json, os, threading
from contextlib import redirect_stderr, redirect_stdout
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

print({name: version(name) for name in ("inspect-ai", "openai")})
asked = []

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        asked.append((self.path, body))
        if self.path.endswith("/responses"):
            text = {"type": "output_text", "text": "done", "annotations": []}
            output = [{"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [text]}]
            answer = {"id": "r", "object": "response", "created_at": 1, "status": "completed", "model": "m", "output": output, "parallel_tool_calls": True, "tools": [],
                      "tool_choice": "auto", "usage": {"input_tokens": 7, "output_tokens": 1, "total_tokens": 8, "input_tokens_details": {"cached_tokens": 0},
                                                       "output_tokens_details": {"reasoning_tokens": 0}}}
        else:
            call = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"x": 1, "y": 2}'}}
            calls = body.get("tools") and body["messages"][-1]["role"] != "tool"
            message = {"role": "assistant", "content": None, "reasoning_content": "Add.", "tool_calls": [call]} if calls else {"role": "assistant", "content": "done"}
            choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}
            answer = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def log_message(self, *_): pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
base = f"http://127.0.0.1:{server.server_port}/v1"
os.environ.update(INSPECT_DISPLAY="none", LOCAL_API_KEY="none", LOCAL_BASE_URL=base, OPENAI_API_KEY="none", OPENAI_BASE_URL=base, OLLAMA_BASE_URL=base)
from inspect_ai.model import GenerateConfig, get_model
from inspect_ai.tool import tool

@tool
def add():
    async def execute(x: int, y: int) -> str:
        """Adds.

        Args:
            x: one
            y: two
        """
        return str(x + y)
    return execute

settings = GenerateConfig(temperature=0.6, top_k=20, seed=1, stop_seqs=["END"], reasoning_effort="low", reasoning_tokens=500, max_tokens=50)

async def main():
    for prefix in ("openai-api/local", "ollama", "openai"):
        asked.clear()
        said = io.StringIO()
        with redirect_stdout(said), redirect_stderr(said):
            answer = await get_model(prefix + "/m").generate("Hi", config=settings)
        path, body = asked[-1]
        sent = {name: value for name, value in body.items() if name not in ("messages", "input")}
        print(f"{prefix}: {[path for path, _ in asked]} {sent} | said {said.getvalue().strip()!r}")
        assert answer.completion == "done" and "top_k" not in json.dumps(asked) and "500" not in json.dumps(asked) and "top_k" not in said.getvalue()
        if prefix == "openai":
            assert path.endswith("/responses") and "hello, world" in json.dumps(asked[0]) and "END" not in json.dumps(asked) and "stop_seqs" in said.getvalue()
        else:
            assert body["stop"] == ["END"] and len(asked) == 1 and not said.getvalue()
            assert (body.get("reasoning_effort"), body.get("reasoning")) == (("low", None) if prefix == "openai-api/local" else (None, {"effort": "low"}))
    model = get_model("openai-api/local/m")
    asked.clear()
    await model.generate("Hi", config=GenerateConfig(extra_body={"top_k": 20}))
    assert asked[-1][1]["top_k"] == 20
    await model.generate_loop("Hi", tools=[add()])
    sent = next(message for message in asked[-1][1]["messages"] if message["role"] == "assistant")
    print("the call after a thought goes back with the content", repr(sent["content"]))
    assert sent["content"] == "\n"

asyncio.run(main())
PY
v/bin/python t.py
