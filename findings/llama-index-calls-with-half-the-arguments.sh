#!/usr/bin/env bash
# Guess: an agent framework that meets a call whose arguments `finish_reason: "length"` has cut raises, or tells the model that it is no JSON.
# Reality: LlamaIndex leaves the cut argument out and carries the call out with the others; the missing one is None, not even the function's
#   default, and the model is told that it went well. LangChain's agent ends with an empty answer and no error. Strands raises.
# Versions: llama-index-core 0.14.25, llama-index-llms-openai-like 0.8.1, langchain 1.5.2, langchain-openai 1.7.4, strands-agents 1.62.0
#   (PyPI); a stub server on this machine's loopback.
# For a server author: a cut call is carried out somewhere. The finish reason does not protect; leave such a call out where the API allows.
# Grounds: costly
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
for name in llama langchain strands; do python3 -m venv $name; done
llama/bin/pip install -q --disable-pip-version-check llama-index-llms-openai-like==0.8.1 llama-index-core==0.14.25
langchain/bin/pip install -q --disable-pip-version-check langchain==1.5.2 langchain-openai==1.7.4
strands/bin/pip install -q --disable-pip-version-check 'strands-agents[openai]==1.62.0'
cat > t.py <<'PY'
import json, subprocess, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CUT = '{"path": "notes.txt", "text": "the first half of the'
results = []

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        results.extend(message["content"] for message in asked["messages"] if message["role"] == "tool")
        call = {"id": "call_1", "type": "function", "function": {"name": "write", "arguments": CUT}}
        message, end = ({"role": "assistant", "content": "done"}, "stop") if results else ({"role": "assistant", "content": None, "tool_calls": [call]}, "length")
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        head = {"id": "c", "created": 1, "model": "m"}
        if asked.get("stream"):
            for piece in message.get("tool_calls", []):
                piece["index"] = 0
            chunks = [{**head, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
                      for delta, reason in ((message, None), ({}, end))]
            data, kind = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n", "text/event-stream"
        else:
            choices = [{"index": 0, "message": message, "finish_reason": end}]
            data, kind = json.dumps({**head, "object": "chat.completion", "choices": choices, "usage": usage}), "application/json"
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data.encode())
    def log_message(self, *_): pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
for client, expected in [("llama", [[["notes.txt", None]], "done"]), ("langchain", [[], ""]), ("strands", [[], "MaxTokensReachedException"])]:
    results.clear()
    command = [f"{client}/bin/python", f"{client}_client.py", f"http://127.0.0.1:{server.server_port}/v1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    print(f"{client}: carries out {seen[0]}, tells the model {results[:1]}, ends with {seen[1]!r}")
    assert seen == expected and results == (["written"] if client == "llama" else [])
PY
cat > llama_client.py <<'PY'
import asyncio, json, sys
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.llms.openai_like import OpenAILike
calls = []
def write(path: str, text: str = "nothing") -> str:
    """Writes a file."""
    calls.append([path, text])
    return "written"
async def main():
    model = OpenAILike(model="m", api_base=sys.argv[1], api_key="none", is_chat_model=True, is_function_calling_model=True)
    return str(await FunctionAgent(tools=[write], llm=model).run("x"))
answer = asyncio.run(main())
print(json.dumps([calls, answer]))
PY
cat > langchain_client.py <<'PY'
import json, sys
from langchain.agents import create_agent
from langchain_openai import ChatOpenAI
calls = []
def write(path: str, text: str = "nothing") -> str:
    """Writes a file."""
    calls.append([path, text])
    return "written"
agent = create_agent(ChatOpenAI(model="m", base_url=sys.argv[1], api_key="none"), [write])
answer = agent.invoke({"messages": [("user", "x")]})["messages"][-1].content
print(json.dumps([calls, answer]))
PY
cat > strands_client.py <<'PY'
import json, sys
from strands import Agent, tool
from strands.models.openai import OpenAIModel
calls = []
@tool
def write(path: str, text: str = "nothing") -> str:
    """Writes a file."""
    calls.append([path, text])
    return "written"
model = OpenAIModel(client_args={"base_url": sys.argv[1], "api_key": "none"}, model_id="m")
try:
    answer = str(Agent(model=model, tools=[write], callback_handler=None)("x"))
except Exception as error:
    answer = type(error).__name__
print(json.dumps([calls, answer]))
PY
python3 t.py
