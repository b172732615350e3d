#!/usr/bin/env bash
# Guess: LiteLLM's Messages API asks a provider at one address, and passes `stop_sequences` and `top_k` on or says that it cannot.
# Reality: with `openai/` and a server's own address it asks /v1/chat/completions with both, but once a request has `thinking`, as those of coding agents do, it
#   asks /v1/responses without either: no error, and the answer runs on past the stop text. `hosted_vllm/` sends both either way. `lm_studio/` and
#   `custom_openai/` refuse such a request. `ollama_chat/` joins the blocks of the system prompt and of a tool's result by nothing: "Sys A" and "Sys B" become
#   "Sys ASys B". `is_error` of a result reaches no server in any of them.
# Versions: litellm 1.110.2, openai 3.57.0 (PyPI); a stub server on this machine's loopback.
# For a server author: the same client behind LiteLLM asks two of your addresses, by turns, and loses these two at one. Point it to your own /v1/messages, or use
#   `hosted_vllm/`.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check litellm==1.110.2 openai==3.57.0
cat > t.py <<'PY'
import asyncio, json, os, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm

litellm.suppress_debug_info = True
print({name: version(name) for name in ("litellm", "openai")})
asked = []

def reply(path):
    if path.endswith("/responses"):
        text = {"type": "output_text", "text": "Hello", "annotations": []}
        output = [{"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [text]}]
        return {"id": "r", "object": "response", "created_at": 1, "status": "completed", "model": "m", "output": output, "parallel_tool_calls": True,
                "tool_choice": "auto", "tools": [], "usage": {"input_tokens": 7, "output_tokens": 1, "total_tokens": 8}}
    if path.endswith("/api/chat"):
        return {"model": "m", "created_at": "2026-11-30T12:00:00Z", "message": {"role": "assistant", "content": "Hello"}, "done": True, "done_reason": "stop",
                "prompt_eval_count": 7, "eval_count": 1}
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        asked.append((self.path, json.loads(self.rfile.read(int(self.headers["content-length"])))))
        data = json.dumps(reply(self.path)).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def log_message(self, *_): pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
root = f"http://127.0.0.1:{server.server_port}"
texts = [{"type": "text", "text": "no file"}, {"type": "text", "text": "try another"}]
messages = [{"role": "user", "content": "Read it."}, {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "read", "input": {"path": "a"}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "is_error": True, "content": texts}]}]
tools = [{"name": "read", "description": "Reads.", "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}}]
system = [{"type": "text", "text": "Sys A"}, {"type": "text", "text": "Sys B"}]

async def ask(model, **more):
    asked.clear()
    base = root if model.startswith("ollama") else root + "/v1"
    try:
        answer = await litellm.anthropic.messages.acreate(model=model, api_base=base, api_key="none", max_tokens=50, stop_sequences=["END"], top_k=5,
                                                          system=system, messages=messages, tools=tools, **more)
        assert answer["content"][0]["text"] == "Hello" and len(asked) == 1, answer
    except litellm.UnsupportedParamsError as error:
        return type(error).__name__, {}
    return asked[0]

async def main():
    thinking = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
    for prefix, more, expected, stop, top_k in (
        ("openai", {}, "/v1/chat/completions", ["END"], 5),
        ("openai", thinking, "/v1/responses", None, None),
        ("hosted_vllm", thinking, "/v1/chat/completions", ["END"], 5),
        ("ollama_chat", {}, "/api/chat", ["END"], 5),
    ):
        path, body = await ask(prefix + "/m", **more)
        found = {**body, **body.get("options", {})}
        rest = {name: value for name, value in found.items() if name not in ("input", "messages", "tools", "options")}
        print(f"{prefix}/{' with thinking' if more else ''}: {path} {rest}")
        assert (path, found.get("stop"), found.get("top_k")) == (expected, stop, top_k), (path, found)
        text = json.dumps(body)
        assert ("END" in text) == bool(stop) and "is_error" not in text and "no file" in text, text
        if prefix == "ollama_chat":
            sent = body["messages"][0]["content"], body["messages"][-1]["content"]
            print("  system prompt and result:", sent)
            assert sent == ("Sys ASys B", "no filetry another"), sent
    for prefix in ("lm_studio", "custom_openai"):
        error = (await ask(prefix + "/m", **thinking))[0]
        print(f"{prefix}/ with thinking: {error}")
        assert error == "UnsupportedParamsError", error

asyncio.run(main())
PY
v/bin/python t.py
