#!/usr/bin/env bash
# Guess: clients of Ollama's API say which call a result belongs to: by `tool_name`, as the API has it, or by a call's id.
# Reality: LangChain's in Python and JavaScript and LlamaIndex's send `{"role": "tool", "content": …}` alone. Two results of one turn can be told
#   apart by their order only; in Python the earlier calls have no id either.
# Versions: langchain-ollama 1.1.0, llama-index-llms-ollama 0.11.0, ollama 0.6.3 (PyPI), @langchain/ollama 1.3.0, @langchain/core 1.4.0 (npm); a
#   stub server on this machine's loopback.
# For a server author: match results to the open calls by their order, or templates that write the function's name beside a result write
#   nothing or fail.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check langchain-ollama==1.1.0 llama-index-llms-ollama==0.11.0 ollama==0.6.3
npm install --silent --no-fund --no-audit @langchain/ollama@1.3.0 @langchain/core@1.4.0 > /dev/null
npm ls --depth=0 | grep @
cat > t.py <<'PY'
import asyncio, json, subprocess, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_ollama import ChatOllama
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.llms.ollama import Ollama

print({name: version(name) for name in ("langchain-ollama", "llama-index-llms-ollama", "ollama")})
asked = {}

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        global asked
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        call = lambda name: {"function": {"name": name, "arguments": {"city": "Rome"}}}
        answered = asked["messages"][-1]["role"] == "tool"
        message = {"role": "assistant", "content": "done"} if answered else {"role": "assistant", "content": "",
                                                                             "tool_calls": [call("time_in"), call("rain_in")]}
        data = (json.dumps({"model": "m", "created_at": "2026-01-01T00:00:00Z", "message": message, "done": True, "done_reason": "stop",
                            "prompt_eval_count": 1, "eval_count": 1}) + "\n").encode()
        self.send_response(200)
        self.send_header("content-type", "application/x-ndjson")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def log_message(self, *_): pass

server = HTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"

def time_in(city: str) -> str:
    """The time in a city."""
    return "noon"

def rain_in(city: str) -> str:
    """The rain in a city."""
    return "none"

def langchain():
    tools = {f.__name__: tool(f) for f in (time_in, rain_in)}
    model = ChatOllama(model="m", base_url=url).bind_tools(list(tools.values()))
    history = [HumanMessage("x")]
    history += [model.invoke(history)]
    model.invoke(history + [tools[call["name"]].invoke(call) for call in history[-1].tool_calls])

def llamaindex():
    async def main():
        await FunctionAgent(tools=[time_in, rain_in], llm=Ollama(model="m", base_url=url, context_window=4096)).run("x")
    asyncio.run(main())

def javascript():
    subprocess.run(["node", "t.mjs", url], check=True)

for client in (langchain, llamaindex, javascript):
    client()
    calls = [call for message in asked["messages"] for call in message.get("tool_calls", [])]
    results = [message for message in asked["messages"] if message["role"] == "tool"]
    print(f"{client.__name__}: calls {json.dumps(calls)}")
    print(f"{client.__name__}: results {json.dumps(results)}")
    assert len(calls) == 2 and [set(result) for result in results] == [{"role", "content"}] * 2, results
    assert ["id" in call for call in calls] == [client is javascript] * 2, calls
PY
cat > t.mjs <<'JS'
import { HumanMessage, ToolMessage } from "@langchain/core/messages";
import { ChatOllama } from "@langchain/ollama";
const parameters = { type: "object", properties: { city: { type: "string" } } };
const tools = ["time_in", "rain_in"].map((name) => ({ type: "function", function: { name, description: "", parameters } }));
const model = new ChatOllama({ model: "m", baseUrl: process.argv[2] }).bindTools(tools);
const question = new HumanMessage("x");
const answer = await model.invoke([question]);
const results = answer.tool_calls.map(({ id, name }) => new ToolMessage({ content: "noon", tool_call_id: id, name }));
await model.invoke([question, answer, ...results]);
JS
v/bin/python t.py
