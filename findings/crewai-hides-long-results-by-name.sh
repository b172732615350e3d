#!/usr/bin/env bash
# Guess: a tool's result reaches the model, unless the server says that the context is full; the schema of a tool's arguments is that of its Pydantic model.
# Reality: CrewAI takes 8192 tokens for the context of a name that it does not know, and hides results of more than a quarter of 85 % of it: beyond 6964 characters the
#   model sees at most 2000 of them, the name of a file, and one more tool to read it by lines. With "gpt-4.1" for a name the same server gets the whole result.
#   A parameter `dict[str, int]` may only be `{}`, and every default is gone: all arguments are required.
# Versions: crewai 1.15.30, openai 2.54.0 (PyPI); a stub server on this machine's loopback.
# For a server author: no 400 of yours is behind it, and a model with 128,000 tokens is asked for many small pieces. `use_better_compaction=False` of the agent is
#   no cure: it summarises the chat by several requests instead. `additionalProperties: false` without properties is obeyed by a server that enforces schemas.
# Grounds: costly
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check crewai==1.15.30 openai==2.54.0
cat > t.py <<'PY'
import json, logging, os, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
os.environ.update(CREWAI_DISABLE_TELEMETRY="true", OTEL_SDK_DISABLED="true", CREWAI_TRACING_ENABLED="false", CREWAI_TESTING="1", HOME=os.getcwd())
from crewai import Agent, Crew, LLM, Task
from crewai.tools import BaseTool
from pydantic import BaseModel

logging.disable(logging.CRITICAL)
print({name: version(name) for name in ("crewai", "openai")})
asked = []

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        asked.append(body)
        done = len(asked) > 1
        call = {"id": "call_1", "type": "function", "function": {"name": "read", "arguments": json.dumps({"path": "a", "lines": 2, "limits": {}})}}
        message = {"role": "assistant", "content": "done"} if done else {"role": "assistant", "content": None, "tool_calls": [call]}
        choice = {"index": 0, "message": message, "finish_reason": "stop" if done else "tool_calls"}
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

class Input(BaseModel):
    path: str
    lines: int = 3
    limits: dict[str, int] = {}

class Read(BaseTool):
    name: str = "read"
    description: str = "Reads a file."
    args_schema: type[BaseModel] = Input
    length: int
    def _run(self, **_):
        return "x" * 69 + "\n" + "word " * ((self.length - 70) // 5)

def run(model, length, **more):
    asked.clear()
    served = LLM(model="openai/" + model, base_url=f"http://127.0.0.1:{server.server_port}/v1", api_key="none")
    agent = Agent(role="Reader", goal="Read", backstory="You read.", llm=served, tools=[Read(length=length)], verbose=False, **more)
    assert Crew(agents=[agent], tasks=[Task(description="Read a.", expected_output="The text", agent=agent)], verbose=False).kickoff().raw == "done"
    sent = next((message["content"] for message in asked[-1]["messages"] if message["role"] == "tool"), None)
    return sent, [tool["function"]["name"] for tool in asked[-1]["tools"]]

for model, length, whole in (("m", 6960, True), ("m", 6970, False), ("m", 60000, False), ("qwen3-8b", 60000, False), ("gpt-4.1", 60000, True)):
    sent, tools = run(model, length)
    print(f"{model}: of a result with {length} characters the model gets {len(sent)}, with the tools {tools}")
    assert whole == (len(sent) == length) and (whole or sent.count("word") <= 400), (len(sent), sent[:200])
    assert tools == ["read"] if whole else len(tools) == 2
function = asked[0]["tools"][0]["function"]
summary = run("m", 60000, use_better_compaction=False)[0] or asked[-1]["messages"][-1]["content"]
print(f"m, use_better_compaction=False: {len(asked)} requests, {sum('tools' not in body for body in asked)} of them for summaries; the last has {summary[:60]!r}")
assert summary.startswith("<summary>") and sum("tools" not in body for body in asked) >= 2
print("sent schema:", function["parameters"], "| of the model:", Input.model_json_schema())
limits = function["parameters"]["properties"]["limits"]
assert limits["additionalProperties"] is False and not limits["properties"] and function["parameters"]["required"] == ["path", "lines", "limits"]
assert function["strict"] is True and "default" not in json.dumps(function) and Input.model_json_schema()["required"] == ["path"]
PY
v/bin/python t.py 2> err.txt || { cat err.txt >&2; exit 1; }
