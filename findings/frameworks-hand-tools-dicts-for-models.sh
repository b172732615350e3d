#!/usr/bin/env bash
# Guess: a tool whose parameter is annotated with a Pydantic model gets that model, as it gets a datetime or an enumeration that it asks for.
# Reality: Strands, aisuite and Microsoft's Agent Framework validate the arguments by the model, convert dates and enumerations, and then pass a dict:
#   `point.x` raises AttributeError inside the tool. Strands' dict has the model's defaults, Agent Framework's has not. AG2 and OpenAI's Agents SDK pass the model.
#   aisuite also sends a text result as JSON, with quotation marks and escaped line ends.
# Versions: strands-agents 1.62.0, aisuite 0.2.0, openai 2.54.0; agent-framework-core 1.23.0, agent-framework-openai 1.17.0; ag2 1.2.1, openai-agents 0.24.0,
#   openai 3.57.0 (PyPI); a stub server on this machine's loopback.
# For a server author: a call that is right by its schema comes back as an error, and the model tries again. The fault is in the client.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
for name in first second third; do python3 -m venv $name; done
first/bin/pip install -q --disable-pip-version-check strands-agents==1.62.0 aisuite==0.2.0 openai==2.54.0
second/bin/pip install -q --disable-pip-version-check agent-framework-core==1.23.0 agent-framework-openai==1.17.0
third/bin/pip install -q --disable-pip-version-check ag2==1.2.1 openai-agents==0.24.0 openai==3.57.0
cat > t.py <<'PY'
import asyncio, datetime, enum, json, os, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pydantic import BaseModel
os.environ.update(OPENAI_AGENTS_DISABLE_TRACING="1", OPENAI_API_KEY="none")

class Point(BaseModel):
    x: int
    y: int = 5

class Color(enum.Enum):
    RED = "red"

got, asked = [], []
ARGUMENTS = json.dumps({"point": {"x": 3}, "when": "2026-11-30T12:00:00Z", "color": "red"})

def draw(point: Point, when: datetime.datetime, color: Color) -> str:
    """Draws a point."""
    got.append((point, type(when).__name__, type(color).__name__))
    return 'drawn "here"'

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        asked.append(body)
        done = any(message["role"] == "tool" for message in body["messages"])
        calls = [{"index": 0, "id": "c", "type": "function", "function": {"name": "draw", "arguments": ARGUMENTS}}]
        message = {"role": "assistant", "content": "ok"} if done else {"role": "assistant", "content": None, "tool_calls": calls}
        end = "stop" if done else "tool_calls"
        head = {"id": "c", "created": 1, "model": "m"}
        usage = {"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8}
        if body.get("stream"):
            chunks = [{**head, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
                      for delta, reason in ((message, None), ({}, end))] + [{**head, "object": "chat.completion.chunk", "choices": [], "usage": usage}]
            kind, text = "text/event-stream", "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
        else:
            choice = {"index": 0, "message": message, "finish_reason": end}
            kind, text = "application/json", json.dumps({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
        data = text.encode()
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def log_message(self, *_): pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
base = f"http://127.0.0.1:{server.server_port}/v1"

def strands():
    from strands import Agent, tool
    from strands.models.openai import OpenAIModel
    Agent(model=OpenAIModel(client_args={"base_url": base, "api_key": "none"}, model_id="m"), tools=[tool(draw)], callback_handler=None)("Hi")

def aisuite():
    import aisuite
    client = aisuite.Client({"openai": {"api_key": "none", "base_url": base}})
    client.chat.completions.create(model="openai:m", messages=[{"role": "user", "content": "Hi"}], tools=[draw], max_turns=3)

def agent_framework():
    from agent_framework import Agent
    from agent_framework.openai import OpenAIChatCompletionClient
    asyncio.run(Agent(client=OpenAIChatCompletionClient(model="m", base_url=base, api_key="none"), tools=[draw]).run("Hi"))

def ag2():
    from ag2 import Agent, tool
    from ag2.config import OpenAIConfig
    asyncio.run(Agent("a", "You draw.", config=OpenAIConfig(model="m", base_url=base, api_key="none"), tools=[tool(draw)]).ask("Hi"))

def openai_agents():
    from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool
    from openai import AsyncOpenAI
    model = OpenAIChatCompletionsModel("m", AsyncOpenAI(base_url=base, api_key="none"))
    asyncio.run(Runner.run(Agent(name="a", model=model, tools=[function_tool(draw)]), "Hi"))

PLAIN = 'drawn "here"'
groups = {"first": [(strands, "strands-agents", {"x": 3, "y": 5}, PLAIN), (aisuite, "aisuite", {"x": 3, "y": 5}, json.dumps(PLAIN))],
          "second": [(agent_framework, "agent-framework-core", {"x": 3}, PLAIN)],
          "third": [(ag2, "ag2", Point(x=3), PLAIN), (openai_agents, "openai-agents", Point(x=3), PLAIN)]}
for framework, package, expected, result in groups[sys.argv[1]]:
    got.clear()
    asked.clear()
    framework()
    (point, when, color), sent = got[0], asked[-1]["messages"][-1]["content"]
    print(f"{package} {version(package)} (openai {version('openai')}): {type(point).__name__} {point!r}, {when}, {color} | result sent: {sent!r}")
    assert type(point) is type(expected) and point == expected and (when, color) == ("datetime", "Color") and len(got) == 1, got
    assert sent == result, sent
PY
for name in first second third; do
    $name/bin/python t.py $name
done
