#!/usr/bin/env bash
# Guess: the model reads the text of an MCP tool's result, as the tool has written it; a picture goes as a picture or not at all.
# Reality: four clients send four things for one result. LlamaIndex sends Python's notation of the SDK's object (`meta=None content=[TextContent(…`),
#   Google's ADK the whole result as JSON, Pydantic AI only `structuredContent` where there is one, OpenAI's Agents SDK only the text.
#   The first two write a picture's base64 into the prompt as text, the last drops it. Two texts come as a notation, JSON, a JSON list or parts.
# Versions: llama-index-tools-mcp 0.6.0, google-adk 2.13.0 with litellm 1.110.2, pydantic-ai-slim 2.68.0, openai-agents 0.24.0, mcp 2.3.0
#   (PyPI); stub servers on this machine's loopback are the MCP server and the model.
# For a server author: prompts grow by a picture's base64, and "the tool's answer is ignored" may be true of its text. Look at the request.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
for name in llama google pydantic openai; do python3 -m venv $name; done
llama/bin/pip install -q --disable-pip-version-check llama-index-tools-mcp==0.6.0 llama-index-core==0.14.25 llama-index-llms-openai-like==0.8.1 mcp==2.3.0
google/bin/pip install -q --disable-pip-version-check google-adk==2.13.0 mcp==2.3.0 litellm==1.110.2
pydantic/bin/pip install -q --disable-pip-version-check 'pydantic-ai-slim[mcp,openai]==2.68.0' mcp==2.3.0
openai/bin/pip install -q --disable-pip-version-check openai-agents==0.24.0 mcp==2.3.0
cat > t.py <<'PY'
import json, subprocess, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
TEXT = {"type": "text", "text": "12 degrees"}
result, told = [], []

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
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/mcp":
            return self.tools(asked)
        results = [message for message in asked["messages"] if message["role"] == "tool"]
        function = {"name": "weather", "arguments": "{}"}
        message, end = {"role": "assistant", "content": None, "tool_calls": [{"id": "call_1", "type": "function", "function": function}]}, "tool_calls"
        if results:
            told.append(results[0]["content"])
            message, end = {"role": "assistant", "content": "done"}, "stop"
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        head = {"id": "c", "created": 1, "model": "m"}
        if not asked.get("stream"):
            return self.answer(200, {**head, "object": "chat.completion", "usage": usage, "choices": [{"index": 0, "message": message, "finish_reason": end}]})
        for call in message.get("tool_calls", []):
            call["index"] = 0
        chunks = [{**head, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
                  for delta, reason in ((message, None), ({}, end))]
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        self.wfile.write(("".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n").encode())
    def tools(self, asked):
        if "id" not in asked:
            return self.answer(202)
        head = {"jsonrpc": "2.0", "id": asked["id"]}
        about = {"capabilities": {"tools": {}}, "serverInfo": {"name": "s", "version": "1"}}
        if asked["method"] == "initialize":
            self.answer(200, {**head, "result": {"protocolVersion": asked["params"]["protocolVersion"], **about}})
        elif asked["method"] == "tools/list":
            self.answer(200, {**head, "result": {"tools": [{"name": "weather", "description": "x", "inputSchema": {"type": "object", "properties": {}}}]}})
        elif asked["method"] == "tools/call":
            self.answer(200, {**head, "result": result[0]})
        else:
            self.answer(200, {**head, "error": {"code": -32601, "message": "no such method"}})
    def log_message(self, *_): pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"

def hears(client, content, **more):
    result[:], told[:] = [{"content": content, **more}], []
    done = subprocess.run([f"{client}/bin/python", f"{client}_client.py", f"{url}/mcp", f"{url}/v1"], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0 and told, done.stderr
    print(f"{client}: {told[0]!r}")
    return told[0]

for client in ("llama", "google", "pydantic", "openai"):
    both = hears(client, [TEXT], structuredContent={"celsius": 12})
    two = hears(client, [TEXT, {"type": "text", "text": "and rain"}])
    picture = str(hears(client, [TEXT, {"type": "image", "data": PICTURE, "mimeType": "image/png"}])) if client != "pydantic" else ""
    assert (PICTURE in picture) == (client in ("llama", "google"))
    if client == "llama":
        assert both.startswith("meta=None content=[TextContent(type='text', text='12 degrees'") and "structured_content={'celsius': 12}" in both
        assert two.count("TextContent(") == 2
    elif client == "google":
        assert json.loads(both) == {"content": [TEXT], "structuredContent": {"celsius": 12}, "isError": False}
        assert len(json.loads(two)["content"]) == 2
    elif client == "pydantic":
        assert (json.loads(both), json.loads(two)) == ({"celsius": 12}, ["12 degrees", "and rain"])
    else:
        assert (both, two) == ([TEXT], [TEXT, {"type": "text", "text": "and rain"}])
PY
cat > llama_client.py <<'PY'
import asyncio, sys
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.llms.openai_like import OpenAILike
from llama_index.tools.mcp import BasicMCPClient, McpToolSpec
async def main():
    tools = await McpToolSpec(client=BasicMCPClient(sys.argv[1])).to_tool_list_async()
    model = OpenAILike(model="m", api_base=sys.argv[2], api_key="none", is_chat_model=True, is_function_calling_model=True)
    assert str(await FunctionAgent(tools=tools, llm=model).run("x")) == "done"
asyncio.run(main())
PY
cat > google_client.py <<'PY'
import asyncio, os, sys
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
from google.adk.agents import LlmAgent
from google.adk.models.lite_llm import LiteLlm
from google.adk.runners import InMemoryRunner
from google.adk.tools.mcp_tool import McpToolset, StreamableHTTPConnectionParams
from google.genai import types
async def main():
    toolset = McpToolset(connection_params=StreamableHTTPConnectionParams(url=sys.argv[1]))
    model = LiteLlm(model="openai/m", api_base=sys.argv[2], api_key="none")
    runner = InMemoryRunner(LlmAgent(name="a", model=model, tools=[toolset]), app_name="a")
    session = await runner.session_service.create_session(app_name="a", user_id="u")
    ask = types.Content(role="user", parts=[types.Part(text="x")])
    last = [event async for event in runner.run_async(user_id="u", session_id=session.id, new_message=ask)][-1]
    assert last.content.parts[0].text == "done"
    await toolset.close()
asyncio.run(main())
PY
cat > pydantic_client.py <<'PY'
import asyncio, sys
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
model = OpenAIChatModel("m", provider=OpenAIProvider(base_url=sys.argv[2], api_key="none"))
assert asyncio.run(Agent(model, toolsets=[MCPToolset(sys.argv[1])]).run("x")).output == "done"
PY
cat > openai_client.py <<'PY'
import asyncio, sys
from agents import Agent, OpenAIChatCompletionsModel, Runner, set_tracing_disabled
from agents.mcp import MCPServerStreamableHttp
from openai import AsyncOpenAI
set_tracing_disabled(True)
async def main():
    async with MCPServerStreamableHttp(params={"url": sys.argv[1]}) as server:
        model = OpenAIChatCompletionsModel("m", AsyncOpenAI(base_url=sys.argv[2], api_key="none"))
        assert (await Runner.run(Agent(name="a", model=model, mcp_servers=[server]), "x")).final_output == "done"
asyncio.run(main())
PY
python3 t.py
