#!/usr/bin/env bash
# Guess: LangSmith's wrapper of OpenAI's client traces a streamed answer as it traces a whole one: the same message in both runs.
# Reality: a whole answer's run has `reasoning_content`, a streamed one's has not. A streamed legacy completion with n=2 becomes one text, the pieces of both in
#   turn. With counts (`include_usage`) such a stream raises IndexError in the caller's own loop, after the last piece: the wrapper takes the first choice of the
#   last chunk, which has none. The run never ends then.
# Versions: langsmith 0.15.1, openai 3.57.0 (PyPI); a stub server on this machine's loopback.
# For a server author: "the model does not think when it streams" may be true of the traces alone, and a list index out of range is no broken stream.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check langsmith==0.15.1 openai==3.57.0
cat > t.py <<'PY'
import json, os, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
os.environ["LANGSMITH_TRACING"] = "true"
import langsmith, openai
from langsmith.wrappers import wrap_openai

print({name: version(name) for name in ("langsmith", "openai")})
usage = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or "{}")
        head, kind = {"id": "c", "created": 1, "model": "local"}, "application/json"
        if self.path == "/v1/chat/completions" and asked.get("stream"):
            deltas = [{"role": "assistant", "reasoning_content": "A greeting."}, {"content": "Hello"}]
            parts = [{**head, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
        elif self.path == "/v1/chat/completions":
            message = {"role": "assistant", "content": "Hello", "reasoning_content": "A greeting."}
            body = json.dumps({**head, "object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage})
        elif self.path == "/v1/completions":
            texts = [(index, text) for text in ("one ", "two ") for index in range(asked.get("n", 1))]
            parts = [{**head, "object": "text_completion", "choices": [{"index": index, "text": f"{index}:{text}", "finish_reason": None}]} for index, text in texts]
            if asked.get("stream_options"):
                parts.append({**head, "object": "text_completion", "choices": [], "usage": usage})
        else:
            body = "{}"
        if asked.get("stream"):
            body, kind = "".join(f"data: {json.dumps(part)}\n\n" for part in parts) + "data: [DONE]\n\n", "text/event-stream"
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())
    do_GET = do_PATCH = do_POST
    def log_message(self, *_): pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
base, runs = f"http://127.0.0.1:{server.server_port}", []
traces = langsmith.Client(api_url=base, api_key="none", auto_batch_tracing=False)
client = wrap_openai(openai.OpenAI(base_url=base + "/v1", api_key="none"), tracing_extra={"client": traces})
extra = {"on_end": lambda run: runs.append(run.outputs)}

for stream in (False, True):
    answer = client.chat.completions.create(model="local", messages=[{"role": "user", "content": "Hi"}], stream=stream, langsmith_extra=extra)
    if stream:
        assert [getattr(chunk.choices[0].delta, "reasoning_content", None) for chunk in answer] == ["A greeting.", None]
    else:
        assert answer.choices[0].message.reasoning_content == "A greeting."
    message = runs.pop()["choices"][0]["message"]
    print("chat, streamed:" if stream else "chat, whole:", {name: value for name, value in message.items() if value})
    assert message["content"] == "Hello" and message.get("reasoning_content") == (None if stream else "A greeting.")

stream = client.completions.create(model="local", prompt="Count:", n=2, stream=True, langsmith_extra=extra)
texts = [(chunk.choices[0].index, chunk.choices[0].text) for chunk in stream]
output = runs.pop()["choices"]
print("completion, n=2:", texts, "| run:", output)
assert output == [{"text": "0:one 1:one 0:two 1:two "}], output

stream, texts = client.completions.create(model="local", prompt="Count:", stream=True, stream_options={"include_usage": True}, langsmith_extra=extra), []
try:
    for chunk in stream:
        texts += [choice.text for choice in chunk.choices]
    raised = None
except IndexError as error:
    raised = str(error)
print("completion with counts:", texts, "| raised in the loop:", raised, "| runs that ended:", runs)
assert texts == ["0:one ", "0:two "] and raised and not runs, raised
PY
v/bin/python t.py
