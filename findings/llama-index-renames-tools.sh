#!/usr/bin/env bash
# Guess: an agent of LlamaIndex can call each of its tools, whatever the names are; MCP allows dots in them.
# Reality: the request has "files_read" for "files.read", and the agent then looks for a tool of that name: "Tool files_read not found", each
#   time, so the model is offered what it cannot call. Beside a tool that is called "files_read" the request has the name twice, and a call
#   always goes to that one. The model is not at fault, and other frameworks send the name as it is.
# Versions: llama-index-core 0.14.25, llama-index-llms-openai-like 0.8.1 (PyPI); a stub server on this machine's loopback is the model.
# For a server author: two tools of one name in a request may be this. Refusing them names the fault; taking them hides it.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check llama-index-llms-openai-like==0.8.1 llama-index-core==0.14.25
cat > t.py <<'PY'
import asyncio, json, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike

print({name: version(name) for name in ("llama-index-core", "llama-index-llms-openai-like")})
asked = []

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        asked.append(request)
        last = request["tools"][-1]["function"]["name"]
        call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": last, "arguments": "{}"}}
        answer = ({"role": "assistant", "tool_calls": [call]}, "tool_calls") if len(asked) == 1 else ({"role": "assistant", "content": "done"}, "stop")
        head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        chunks = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": end}]} for delta, end in ((answer[0], None), ({}, answer[1]))]
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        self.wfile.write(("".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n").encode())
    def log_message(self, *_): pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()

async def agent(names):
    tools = [FunctionTool.from_defaults(fn=lambda name=name: f"this is {name}", name=name, description="x") for name in names]
    model = OpenAILike(model="m", api_base=f"http://127.0.0.1:{server.server_port}/v1", api_key="none", is_chat_model=True, is_function_calling_model=True)
    return str(await FunctionAgent(tools=tools, llm=model).run("x"))

for names, sent, result in [
    (["files_read"], ["files_read"], "this is files_read"),
    (["files.read"], ["files_read"], "Tool files_read not found. Please select a tool that is available."),
    (["files/read"], ["files_read"], "Tool files_read not found. Please select a tool that is available."),
    (["files_read", "files.read"], ["files_read", "files_read"], "this is files_read"),
]:
    asked.clear()
    assert asyncio.run(agent(names)) == "done"
    seen = [tool["function"]["name"] for tool in asked[0]["tools"]]
    told = asked[1]["messages"][-1]["content"]
    print(f"{names}: the request has {seen}; a call of the last one gives {told!r}")
    assert (seen, told) == (sent, result)
PY
v/bin/python t.py
