#!/usr/bin/env bash
# Guess: Pydantic AI sends the user's text and a tool's result as they are.
# Reality: whatever looks like a chat template's token, `<|im_start|>`, `[INST]` or `<start_of_turn>`, gets a zero-width joiner (U+200D) behind its first
#   character, in user texts, tool results and earlier answers, for every OpenAI-compatible server and Ollama unless the model is named like a closed one. An
#   agent that works on templates, tokenizers or logs of prompts reads other text than the file has: lengths, offsets and token counts are others. System prompts
#   are left alone, and the joiner is taken out of answers, so nothing shows it but the request. A model that is served as `gpt-local` gets the text as it is.
# Versions: pydantic-ai-slim 2.68.0, openai 3.57.0 (PyPI); a stub server on this machine's loopback.
# For a server author: such a prompt shares no prefix with another client's, and what the model says about columns is off by one. Look at the request's bytes.
# Grounds: new
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check 'pydantic-ai-slim[openai]==2.68.0' openai==3.57.0
cat > t.py <<'PY'
import json, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

print({name: version(name) for name in ("pydantic-ai-slim", "openai")})
asked = []
LINE = "{{ '<|im_start|>' + role }} [INST] <pad>"

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        message, end = {"role": "assistant", "content": "It begins with <\u200d|im_start|>."}, "stop"
        if asked[-1].get("tools") and asked[-1]["messages"][-1]["role"] != "tool":
            message, end = {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "read", "arguments": "{}"}}]}, "tool_calls"
        body = json.dumps({"id": "c", "created": 1, "model": "m", "object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": end}]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()

def ask(name):
    model = OpenAIChatModel(name, provider=OpenAIProvider(base_url=f"http://127.0.0.1:{server.server_port}/v1", api_key="none"))
    agent = Agent(model, system_prompt=LINE)
    agent.tool_plain(lambda: LINE, name="read")
    answer = agent.run_sync(LINE).output
    return {message["role"]: message["content"] for message in asked[-1]["messages"]}, answer

broken = "{{ '<\u200d|im_start|>' + role }} [\u200dINST] <pad>"
for name, expected in [("qwen3-4b", broken), ("gpt-local", LINE)]:
    sent, answer = ask(name)
    print(name, {role: ascii(content) for role, content in sent.items()}, "| answer:", ascii(answer))
    assert sent["system"] == LINE and sent["user"] == sent["tool"] == expected, sent
    assert ("\u200d" in answer) == (expected == LINE)
assert len(broken) == len(LINE) + 2
PY
v/bin/python t.py
