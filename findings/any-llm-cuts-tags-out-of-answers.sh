#!/usr/bin/env bash
# Guess: any-llm gives one answer the same content, streamed or whole, and takes for reasoning what the server calls so, or what stands in tags at the
#   beginning.
# Reality: with Ollama's API a whole answer loses each `<think>`, `<thinking>`, `<reasoning_content>` and `<chain_of_thought>` element wherever it stands, and
#   white space at both ends, an indentation too. A streamed one keeps all of it. A streamed answer with calls ends with "stop", a whole one with "tool_calls", so
#   a loop that goes by the reason carries nothing out. With `llamacpp` nothing is cut.
# Versions: any-llm-sdk 1.40.2, ollama 0.6.3, openai 3.57.0 (PyPI); a stub server on this machine's loopback.
# For a server author: an answer about prompts, or an XML file, arrives with holes. The server's own log has it whole.
# Grounds: new
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check 'any-llm-sdk[ollama]==1.40.2' ollama==0.6.3 openai==3.57.0
cat > t.py <<'PY'
import json, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from any_llm import completion

print({name: version(name) for name in ("any-llm-sdk", "ollama", "openai")})
text = "\n    Begin with <thinking>your plan</thinking> and end.\n"
calls = [{"name": "weather", "arguments": {"city": city}} for city in ("Rome", "Oslo")]

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        is_call, kind = asked["messages"][-1]["content"] == "calls", "application/json"
        pieces = [text[:20], text[20:]]
        if self.path == "/api/chat":
            head, end = {"model": "m", "created_at": "2026-01-01T00:00:00Z"}, {"done": True, "done_reason": "stop", "prompt_eval_count": 7, "eval_count": 3}
            if asked["stream"]:
                parts = [{"content": "", "tool_calls": [{"function": {"index": at, **call}}]} for at, call in enumerate(calls)] if is_call else [{"content": piece} for piece in pieces]
                lines = [{**head, "message": {"role": "assistant", **part}, "done": False} for part in parts] + [{**head, "message": {"role": "assistant", "content": ""}, **end}]
            else:
                message = {"content": "", "tool_calls": [{"function": {"index": at, **call}} for at, call in enumerate(calls)]} if is_call else {"content": text}
                lines = [{**head, "message": {"role": "assistant", **message}, **end}]
            body = "".join(json.dumps(line) + "\n" for line in lines)
        else:
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
            body = json.dumps({"id": "c", "created": 1, "model": "m", "object": "chat.completion", "choices": [choice], "usage": usage})
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())
    def log_message(self, *_): pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
base = f"http://127.0.0.1:{server.server_port}"

def ask(provider, about, stream=False):
    url = base if provider == "ollama" else base + "/v1"
    return completion(model="m", provider=provider, api_base=url, api_key="none", messages=[{"role": "user", "content": about}], stream=stream)

message = ask("ollama", "text").choices[0].message
whole, reasoning = message.content, message.reasoning and message.reasoning.content
streamed = "".join(chunk.choices[0].delta.content or "" for chunk in ask("ollama", "text", stream=True))
kept = ask("llamacpp", "text").choices[0].message.content
print("sent:", repr(text))
print("ollama, whole:", repr(whole), "reasoning:", repr(reasoning))
print("ollama, streamed:", repr(streamed), "| llamacpp:", repr(kept))
assert whole == "Begin with  and end." and reasoning == "your plan" and streamed == kept == text
answer = ask("ollama", "calls").choices[0]
chunks = list(ask("ollama", "calls", stream=True))
reasons = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason]
print("calls, whole:", len(answer.message.tool_calls), answer.finish_reason, "| streamed:", reasons)
assert len(answer.message.tool_calls) == 2 and answer.finish_reason == "tool_calls" and reasons == ["stop"]
PY
v/bin/python t.py
