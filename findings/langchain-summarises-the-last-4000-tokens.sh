#!/usr/bin/env bash
# Guess: the summary that LangChain's SummarizationMiddleware makes covers all that it takes out of the conversation.
# Reality: the model sees only the last 4000 tokens of it (`trim_tokens_to_summarize`), counted as characters / 4: of 21 exchanges that go, 13 are neither kept
#   nor summarised, the user's first wish among them. If the last message that goes, such as a tool's result, is longer than that alone, no model is asked at
#   all and "Previous conversation was too long to summarize." stands for the past. Nothing is logged or raised. None as the limit gives the whole.
# Versions: langchain 1.5.2, langchain-core 1.8.3, langchain-openai 1.7.4 (PyPI); a stub server on this machine's loopback.
# For a server author: a model "forgets" after the summary, with a context that had room for all of it. Look for the second request and its length.
# Grounds: costly
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check langchain==1.5.2 langchain-core==1.8.3 langchain-openai==1.7.4
cat > t.py <<'PY'
import json, re, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from langchain.agents import create_agent
from langchain.agents.middleware import SummarizationMiddleware
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI

print({name: version(name) for name in ("langchain", "langchain-core", "langchain-openai")})
asked = []

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        asked.append(json.loads(self.rfile.read(int(self.headers["content-length"])))["messages"])
        choice = {"index": 0, "message": {"role": "assistant", "content": "the summary"}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        data = json.dumps({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def log_message(self, *_): pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
model = ChatOpenAI(model="m", base_url=f"http://127.0.0.1:{server.server_port}/v1", api_key="none")

def seen(history, **limit):
    asked.clear()
    middleware = SummarizationMiddleware(model=model, trigger=("messages", 30), **limit)
    create_agent(model, middleware=[middleware]).invoke({"messages": history})
    found = [sorted({int(number) for number in re.findall(r"Wish (\d+)", str(messages))}) for messages in asked]
    return found, asked[-1][0]["content"]

history = []
for number in range(1, 31):
    history += [HumanMessage(f"Wish {number}: " + "word " * 200), AIMessage("Done. " + "word " * 200)]
history.append(HumanMessage("And now?"))
(summarised, kept), first = seen(history)
lost = [number for number in range(1, 31) if number not in summarised + kept]
print("wishes 1 to 30: summarised", summarised, "| kept", kept, "| in neither", lost)
print("the first message then:", repr(first))
assert lost == list(range(1, 14)) and first.endswith("the summary"), lost
(whole, _), _ = seen(history, trim_tokens_to_summarize=None)
print("trim_tokens_to_summarize=None: summarised", whole)
assert whole == list(range(1, 22))

call = AIMessage("", tool_calls=[{"name": "read", "args": {}, "id": "1"}])
long = [HumanMessage("Wish 1: read it"), call, ToolMessage("line " * 6000, tool_call_id="1")]
for number in range(2, 17):
    long += [HumanMessage(f"Wish {number}"), AIMessage("Done.")]
long = long[:23]
asked.clear()
middleware = SummarizationMiddleware(model=model, trigger=("messages", 23))
create_agent(model, middleware=[middleware]).invoke({"messages": long})
print("a tool's result of 30,000 characters at the cut:", len(asked), "request,", repr(asked[0][0]["content"]))
assert len(asked) == 1 and asked[0][0]["content"].endswith("Previous conversation was too long to summarize.") and "Wish 1:" not in str(asked), asked
PY
v/bin/python t.py
