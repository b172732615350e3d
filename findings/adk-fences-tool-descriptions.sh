#!/usr/bin/env bash
# Guess: an MCP client gives the model the tools as the server describes them.
# Reality: Google's ADK puts every description of an MCP tool between two marker lines, the tool's own and each parameter's, nested ones too, and explains them
#   in the system prompt. That is 76 characters for each: 7 short descriptions of one tool, 78 characters in all, are sent as 610. 40 such tools are 20,000
#   characters more in each request. Functions of the agent's own are left alone, and `get_tools` shows the texts without markers.
# Versions: google-adk 2.13.0, litellm 1.110.2, mcp 2.3.0 (PyPI); stub servers on this machine's loopback are the MCP server and the model.
# For a server author: the same MCP server costs thousands of tokens more in each turn than with other clients, and shares no cached prefix with them. Shorten
#   schemas before prompts.
# Grounds: new
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check google-adk==2.13.0 mcp==2.3.0 litellm==1.110.2
cat > t.py <<'PY'
import asyncio, json, os, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
from google.adk.agents import LlmAgent
from google.adk.models.lite_llm import LiteLlm
from google.adk.runners import InMemoryRunner
from google.adk.tools.mcp_tool import McpToolset, StreamableHTTPConnectionParams
from google.genai import types

print({name: version(name) for name in ("google-adk", "litellm", "mcp")})
parameters = {name: {"type": "string", "description": f"The {name}."} for name in ("city", "street", "number", "country")}
inner = {"type": "object", "description": "Options.", "properties": {"unit": {"type": "string", "description": "The unit."}}}
tool = {"name": "weather", "description": "Tells the weather.", "inputSchema": {"type": "object", "properties": {**parameters, "options": inner}, "required": ["city"]}}
asked = []

class Stub(BaseHTTPRequestHandler):
    def answer(self, status, body=None):
        data = json.dumps(body).encode() if body else b""
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def do_GET(self):
        self.answer(405)
    do_DELETE = do_GET
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path != "/mcp":
            asked.append(body)
            choice = {"index": 0, "message": {"role": "assistant", "content": "done"}, "finish_reason": "stop"}
            usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
            return self.answer(200, {"id": "c", "created": 1, "model": "m", "object": "chat.completion", "choices": [choice], "usage": usage})
        if "id" not in body:
            return self.answer(202)
        head = {"jsonrpc": "2.0", "id": body["id"]}
        if body["method"] == "initialize":
            about = {"capabilities": {"tools": {}}, "serverInfo": {"name": "s", "version": "1"}}
            self.answer(200, {**head, "result": {"protocolVersion": body["params"]["protocolVersion"], **about}})
        elif body["method"] == "tools/list":
            self.answer(200, {**head, "result": {"tools": [tool]}})
        else:
            self.answer(200, {**head, "error": {"code": -32601, "message": "no such method"}})
    def log_message(self, *_): pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"

def own(city: str) -> str:
    """Tells the time."""
    return "noon"

async def main():
    toolset = McpToolset(connection_params=StreamableHTTPConnectionParams(url=url + "/mcp"))
    (listed,) = await toolset.get_tools()
    agent = LlmAgent(name="a", model=LiteLlm(model="openai/m", api_base=url + "/v1", api_key="none"), tools=[toolset, own])
    runner = InMemoryRunner(agent, app_name="a")
    session = await runner.session_service.create_session(app_name="a", user_id="u")
    question = types.Content(role="user", parts=[types.Part(text="x")])
    async for _ in runner.run_async(user_id="u", session_id=session.id, new_message=question):
        pass
    await toolset.close()
    return listed.description

listed = asyncio.run(main())
sent = {one["function"]["name"]: one["function"] for one in asked[0]["tools"]}
system = [message["content"] for message in asked[0]["messages"] if message["role"] in ("system", "developer")]
print("get_tools:", repr(listed), "| own:", repr(sent["own"]["description"]), "| sent:", repr(sent["weather"]["description"]))
print("a parameter:", repr(sent["weather"]["parameters"]["properties"]["city"]["description"]))
print("system prompt:", system)

def descriptions(schema):
    for name, value in schema.items():
        if name == "description" and isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            yield from descriptions(value)

plain = [tool["description"], *descriptions(tool["inputSchema"])]
fenced = [sent["weather"]["description"], *descriptions(sent["weather"]["parameters"])]
more = sum(map(len, fenced)) - sum(map(len, plain))
print(f"{len(plain)} descriptions of {sum(map(len, plain))} characters are sent as {sum(map(len, fenced))}: {more} more")
begin, end = "<<<BEGIN_UNTRUSTED_TOOL_DESCRIPTION>>>\n", "\n<<<END_UNTRUSTED_TOOL_DESCRIPTION>>>"
assert listed == tool["description"] and sent["own"]["description"] == "Tells the time."
assert sorted(fenced) == sorted(begin + text + end for text in plain)
assert more == 7 * len(begin + end) == 7 * 76 == 532, more
assert any(begin.strip() in text for text in system) and len(" ".join(system)) > 300
PY
v/bin/python t.py
