#!/usr/bin/env bash
# Guess: two calls of one answer arrive as two calls through LiteLLM's `ollama_chat/`, streamed as well as whole.
# Reality: Ollama's protocol sends each call in a line of its own, with its number inside `function`. LiteLLM reads it in neither place: each streamed call has
#   the index 0, so OpenAI's way of putting a stream together, which its own `stream_chunk_builder` follows too, makes one call of both, with
#   `{"city": "Rome"}{"city": "Oslo"}` as arguments. And `<think>` is cut out of a streamed answer wherever it stands, and the rest of that piece is
#   moved to the reasoning; a whole answer keeps both.
# Versions: litellm 1.110.2 (PyPI); a stub server on this machine's loopback sends what Ollama sends.
# For a server author: "the model writes broken JSON when it calls two tools" is not the model. `openai/` with /v1 keeps them apart.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check litellm==1.110.2
cat > t.py <<'PY'
import json, os, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm

print("litellm", version("litellm"))
litellm.suppress_debug_info = True
calls = [{"id": f"c{number}", "function": {"index": number, "name": "weather", "arguments": {"city": city}}} for number, city in enumerate(["Rome", "Oslo"])]
text = ["Write ", "<think> in", " front."]

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path != "/api/chat":
            return self.send_error(404)
        head, about = {"model": "local", "created_at": "2026-01-01T00:00:00Z"}, asked["messages"][0]["content"]
        pieces = [{"content": "", "tool_calls": [call]} for call in calls] if about == "calls" else [{"content": piece} for piece in text]
        end = {"done": True, "done_reason": "stop", "prompt_eval_count": 7, "eval_count": 3}
        if asked["stream"]:
            lines = [{**head, "message": {"role": "assistant", **piece}, "done": False} for piece in pieces]
            lines.append({**head, "message": {"role": "assistant", "content": ""}, **end})
        else:
            message = {"role": "assistant", "content": "", "tool_calls": calls} if about == "calls" else {"role": "assistant", "content": "".join(text)}
            lines = [{**head, "message": message, **end}]
        body = "".join(json.dumps(line) + "\n" for line in lines).encode()
        self.send_response(200)
        self.send_header("content-type", "application/x-ndjson" if asked["stream"] else "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass

server = HTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()

def ask(about, stream):
    return litellm.completion(model="ollama_chat/local", api_base=f"http://127.0.0.1:{server.server_port}", messages=[{"role": "user", "content": about}], stream=stream)

def arguments(message):
    return [call.function.arguments for call in message.tool_calls]

whole = [json.loads(one) for one in arguments(ask("calls", False).choices[0].message)]
chunks = list(ask("calls", True))
indices = [call.index for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
built = arguments(litellm.stream_chunk_builder(chunks).choices[0].message)
print("whole:", whole, "| streamed, indices:", indices, "| put together:", built)
assert whole == [{"city": "Rome"}, {"city": "Oslo"}]
assert indices == [0, 0] and built == ['{"city": "Rome"}{"city": "Oslo"}'], built
message = ask("text", False).choices[0].message
deltas = [chunk.choices[0].delta for chunk in ask("text", True)]
streamed = ["".join(getattr(delta, field, None) or "" for delta in deltas) for field in ("content", "reasoning_content")]
print("whole:", repr(message.content), "| streamed, content and reasoning:", streamed)
assert message.content == "Write <think> in front." and streamed == ["Write  front.", " in"], streamed
PY
v/bin/python t.py
