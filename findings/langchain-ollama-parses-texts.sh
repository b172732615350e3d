#!/usr/bin/env bash
# Guess: ChatOllama gives a tool the arguments that the model wrote, with the types of the tool's schema, and sends a message's text parts as they are.
# Reality: a text that is a JSON object or list becomes one, also if the parameter is `str`, and so does Python's notation of one. An agent that writes a JSON
#   file gets "Input should be a valid string" for a call that is right. An argument `functionName` that is the tool's own name is dropped. Each text part of a
#   message gets a line end in front, a lone one too. ChatOpenAI does none of it.
# Versions: langchain-ollama 1.1.0, langchain-openai 1.7.4, langchain-core 1.8.3, ollama 0.6.3 (PyPI); a stub server on this machine's loopback.
# For a server author: the model repeats a call that is right by the schema until it gives up. `/v1` with ChatOpenAI keeps the text; and prompts of the two
#   clients differ from the first character on.
# Grounds: deep
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check langchain-ollama==1.1.0 langchain-openai==1.7.4 langchain-core==1.8.3 ollama==0.6.3
cat > t.py <<'PY'
import json, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_ollama import ChatOllama
from langchain_openai import ChatOpenAI

print({name: version(name) for name in ("langchain-ollama", "langchain-openai", "langchain-core", "ollama")})
asked = []
TEXTS = {"path": "a.json", "text": '{"name": "x", "version": 1}', "note": "['a', 'b']", "number": "12", "functionName": "write"}

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        if self.path == "/api/chat":
            message = {"role": "assistant", "content": "", "tool_calls": [{"function": {"index": 0, "name": "write", "arguments": TEXTS}}]}
            line = {"model": "m", "created_at": "2026-01-01T00:00:00Z", "message": message, "done": True, "done_reason": "stop", "prompt_eval_count": 7, "eval_count": 3}
            kind, body = "application/x-ndjson", json.dumps(line) + "\n"
        else:
            call = {"id": "c1", "type": "function", "function": {"name": "write", "arguments": json.dumps(TEXTS)}}
            choice = {"index": 0, "message": {"role": "assistant", "content": None, "tool_calls": [call]}, "finish_reason": "tool_calls"}
            kind, body = "application/json", json.dumps({"id": "c", "created": 1, "model": "m", "object": "chat.completion", "choices": [choice]})
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())
    def log_message(self, *_): pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
base = f"http://127.0.0.1:{server.server_port}"

@tool
def write(path: str, text: str, note: str = "", number: str = "", functionName: str = "") -> str:
    """Writes a file."""
    return f"written: {text}"

def ask(model):
    answer = model.bind_tools([write]).invoke([HumanMessage([{"type": "text", "text": "Write it."}])])
    (call,) = answer.tool_calls
    try:
        done = write.invoke(call["args"])
    except ValueError as error:
        done = f"{type(error).__name__}: {error}".split("[type")[0]
    return call["args"], done, asked[-1]["messages"][0]["content"]

arguments, done, text = ask(ChatOllama(model="m", base_url=base))
print("ChatOllama:", arguments, "| the tool:", done, "| the message:", repr(text))
assert arguments == {"path": "a.json", "text": {"name": "x", "version": 1}, "note": ["a", "b"], "number": "12"}
assert "valid string" in done and text == "\nWrite it."
arguments, done, text = ask(ChatOpenAI(model="m", base_url=base + "/v1", api_key="none"))
print("ChatOpenAI:", arguments, "| the tool:", done, "| the message:", text)
assert arguments == TEXTS and done == f"written: {TEXTS['text']}" and text == [{"type": "text", "text": "Write it."}]
PY
v/bin/python t.py
