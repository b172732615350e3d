#!/usr/bin/env bash
# Guess: the compacting session of OpenAI's Agents SDK asks the agent's own model for a summary when the context fills up.
# Reality: it asks for "gpt-4.1" whatever model the agent has, after ten items of the model's, here ten answers of one word. A model named otherwise than
#   `gpt-…` or `o1…` is refused before a request. Where the server does not know gpt-4.1, the whole run raises NotFoundError, and the caller never sees the
#   answer that had arrived.
# Versions: openai-agents 0.24.0, openai 3.57.0 (PyPI); a stub server on this machine's loopback.
# For a server author: a chat with local models fails at its tenth answer. An alias whose name begins with `gpt-` and `should_trigger_compaction` that looks at
#   the tokens help.
# Grounds: new
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check openai==3.57.0 openai-agents==0.24.0
cat > t.py <<'PY'
import asyncio, json, os, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
os.environ.update(OPENAI_AGENTS_DISABLE_TRACING="1", OPENAI_API_KEY="none")
from agents import Agent, OpenAIResponsesModel, Runner, SQLiteSession
from agents.memory import OpenAIResponsesCompactionSession
from openai import AsyncOpenAI

print({name: version(name) for name in ("openai-agents", "openai")})
asked, served = [], {"local"}
usage = {"input_tokens": 7, "output_tokens": 1, "total_tokens": 8, "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}

def message(kind, role, text, **more):
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text, **({"annotations": []} if role == "assistant" else {})}], **more}

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        asked.append((self.path, body))
        number = len(asked)
        if body["model"] not in served:
            status, reply = 404, {"error": {"message": f"no model {body['model']}", "type": "invalid_request_error", "param": "model", "code": "model_not_found"}}
        elif self.path.endswith("/compact"):
            output = [message("input_text", "user", "kept"), {"type": "compaction", "id": "c", "encrypted_content": "x"}]
            status, reply = 200, {"id": "r", "object": "response.compaction", "created_at": 1, "output": output, "usage": usage}
        else:
            output = [message("output_text", "assistant", "Yes", id=f"m{number}", status="completed")]
            status, reply = 200, {"id": f"r{number}", "object": "response", "created_at": 1, "status": "completed", "model": body["model"], "output": output,
                                  "usage": usage, "parallel_tool_calls": True, "tool_choice": "auto", "tools": []}
        data = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def log_message(self, *_): pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()

async def chat(name):
    client = AsyncOpenAI(base_url=f"http://127.0.0.1:{server.server_port}/v1", api_key="none")
    agent = Agent(name="a", model=OpenAIResponsesModel("local", client))
    session = OpenAIResponsesCompactionSession(name, SQLiteSession(name), client=client)
    for turn in range(1, 13):
        try:
            result = await Runner.run(agent, "And?", session=session)
        except Exception as error:
            return turn, type(error).__name__
        assert result.final_output == "Yes"
    return None

def named(name):
    try:
        return OpenAIResponsesCompactionSession("s", SQLiteSession("s"), client=None, model=name).model
    except ValueError as error:
        return str(error)

names = {name: named(name) for name in ("qwen3-8b", "local", "openai/gpt-oss-20b")}
print("as the compaction's model:", names)
assert names["openai/gpt-oss-20b"] == "openai/gpt-oss-20b" and all(names[name].startswith("Unsupported model") for name in ("qwen3-8b", "local"))
failed = asyncio.run(chat("unknown"))
print("the server does not know gpt-4.1: turn and error", failed, "| the last two requests:", [(path, body["model"]) for path, body in asked[-2:]])
assert failed == (10, "NotFoundError") and [body["model"] for _, body in asked[-2:]] == ["local", "gpt-4.1"] and len(asked) == 11, (failed, len(asked))
asked.clear()
served.add("gpt-4.1")
assert asyncio.run(chat("known")) is None
compactions = [(number, body) for number, (path, body) in enumerate(asked, 1) if path.endswith("/compact")]
print("it does:", compactions, "| items sent:", [len(body["input"]) for path, body in asked if not path.endswith("/compact")])
assert len(compactions) == 1 and compactions[0][0] == 11 and compactions[0][1]["model"] == "gpt-4.1", compactions
PY
v/bin/python t.py
