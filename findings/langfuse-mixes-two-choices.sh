#!/usr/bin/env bash
# Guess: with `n=2` a trace has both answers, streamed or not.
# Reality: Langfuse writes the pieces of all streamed choices into one text, in the order in which they came. Their tool calls are joined by their number as
#   well: two calls become one, with both names' first and both arguments in a row. Unstreamed, both messages are there. LangSmith and PostHog keep the choices
#   apart.
# Versions: langfuse 5.0.4, langsmith 0.15.1, posthog 7.91.1, openai 3.57.0 (PyPI); a stub server on this machine's loopback streams two choices by turns.
# For a server author: garbled answers in such a trace are no sign of mixed requests in the server.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check langfuse==5.0.4 langsmith==0.15.1 posthog==7.91.1 openai==3.57.0
cat > t.py <<'PY'
import json, os, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
os.environ["LANGSMITH_TRACING"] = "true"

print(sys.argv[1], {name: version(name) for name in (sys.argv[1], "openai")})
texts = [["The answer", " is", " four."], ["It", " makes", " 4."]]

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or "{}")
        head, kind, body = {"id": "c", "created": 1, "model": "local"}, "application/json", "{}"
        calls = [{"id": f"c{number}", "type": "function", "function": {"name": name, "arguments": json.dumps({"n": number})}} for number, name in enumerate(("add", "multiply"))]
        is_call = "tools" in asked
        if not self.path.endswith("/chat/completions"):
            pass
        elif asked.get("stream"):
            deltas = [(index, {"tool_calls": [{**call, "index": 0}]}) for index, call in enumerate(calls)] if is_call else \
                [(index, {"content": texts[index][at]}) for at in range(3) for index in range(2)]
            chunks = [{**head, "object": "chat.completion.chunk", "choices": [{"index": index, "delta": delta, "finish_reason": None}]} for index, delta in deltas]
            chunks += [{**head, "object": "chat.completion.chunk", "choices": [{"index": index, "delta": {}, "finish_reason": reason}]} for index, reason in enumerate(("stop", "length"))]
            kind, body = "text/event-stream", "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
        else:
            messages = [{"role": "assistant", "content": None if is_call else "".join(texts[index]), **({"tool_calls": [calls[index]]} if is_call else {})} for index in range(2)]
            choices = [{"index": index, "message": messages[index], "finish_reason": reason} for index, reason in enumerate(("stop", "length"))]
            body = json.dumps({**head, "object": "chat.completion", "choices": choices})
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())
    do_GET = do_PATCH = do_POST
    def log_message(self, *_): pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
base, at_server = f"http://127.0.0.1:{server.server_port}", {"base_url": f"http://127.0.0.1:{server.server_port}/v1", "api_key": "none"}
tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}
question = {"model": "local", "messages": [{"role": "user", "content": "2 and 2?"}], "n": 2}

def langfuse():
    from langfuse import Langfuse
    from langfuse.openai import openai
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    exporter = InMemorySpanExporter()
    traces = Langfuse(public_key="pk", secret_key="sk", base_url=base, span_exporter=exporter)
    client = openai.OpenAI(**at_server)
    for more in ({}, {"stream": True}, {"tools": [tool]}, {"tools": [tool], "stream": True}):
        answer = client.chat.completions.create(**question, **more)
        if "stream" in more:
            list(answer)
        traces.flush()
        (span,) = exporter.get_finished_spans()
        exporter.clear()
        yield span.attributes["langfuse.observation.output"]

def langsmith():
    from langsmith import Client
    from langsmith.wrappers import wrap_openai
    from openai import OpenAI
    runs = []
    client = wrap_openai(OpenAI(**at_server), tracing_extra={"client": Client(api_url=base, api_key="none", auto_batch_tracing=False)})
    list(client.chat.completions.create(**question, stream=True, langsmith_extra={"on_end": lambda run: runs.append(run.outputs)}))
    yield json.dumps([choice["message"]["content"] for choice in runs[0]["choices"]])

def posthog():
    from posthog import Posthog
    from posthog.ai.openai import OpenAI
    events = []
    traces = Posthog("key", host=base, before_send=events.append, sync_mode=True)
    list(OpenAI(posthog_client=traces, **at_server).chat.completions.create(**question, stream=True))
    yield json.dumps([part["text"] for part in events[0]["properties"]["$ai_output_choices"][0]["content"]])

seen = list({"langfuse": langfuse, "langsmith": langsmith, "posthog": posthog}[sys.argv[1]]())
print(*(f"   {one}" for one in seen), sep="\n")
both = ["The answer is four.", "It makes 4."]
if sys.argv[1] == "langfuse":
    whole, streamed, whole_calls, streamed_calls = seen
    assert all(text in whole for text in both), whole
    assert streamed == "The answerIt is makes four. 4.", streamed
    assert whole_calls.count('"name"') == 2 and "multiply" in whole_calls
    (call,) = json.loads(streamed_calls)["tool_calls"]
    assert call["function"] == {"name": "add", "arguments": '{"n": 0}{"n": 1}'} and call["id"] == "c1", call
else:
    assert json.loads(seen[0]) == both, seen
PY
for tracer in langfuse langsmith posthog; do
    v/bin/python t.py "$tracer"
done
