#!/usr/bin/env bash
# Guess: ToolCallingAgent with an OpenAI-compatible server keeps the protocol: the model's calls go back as `tool_calls`, the results as `role: tool`
#   by their ids.
# Reality: only the first direction is native. The calls go back as an assistant's text, "Calling tools:" and the printed form of Python
#   objects, all results as one text of the user without ids. Each request has "Observation:" and "Calling tools:" as `stop`, so that an
#   answer with one of these words ends there.
# Versions: smolagents 1.26.0, openai 3.57.0 (PyPI); a stub server on this machine's loopback.
# For a server author: the template's own form of calls and results is never seen in a history. After a few turns a small model writes
#   "Calling tools:" as text itself; the stop then leaves an empty answer.
# Grounds: deep
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check smolagents==1.26.0 openai==3.57.0
cat > t.py <<'PY'
import json, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from smolagents import OpenAIServerModel, ToolCallingAgent, tool

print({name: version(name) for name in ("smolagents", "openai")})
asked = []

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        names = [("time_in", {"city": "Rome"}), ("time_in", {"city": "Oslo"})] if len(asked) == 1 else [("final_answer", {"answer": "done"})]
        calls = [{"id": f"call_{at}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
                 for at, (name, arguments) in enumerate(names)]
        data = json.dumps({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [
            {"index": 0, "message": {"role": "assistant", "content": None, "tool_calls": calls}, "finish_reason": "tool_calls"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def log_message(self, *_): pass

@tool
def time_in(city: str) -> str:
    """Returns the time in a city.

    Args:
        city: the city
    """
    return "noon"

server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
model = OpenAIServerModel("m", api_base=f"http://127.0.0.1:{server.server_port}", api_key="none")
print(ToolCallingAgent(tools=[time_in], model=model, verbosity_level=0).run("What time is it?"))
assert [entry["function"]["name"] for entry in asked[0]["tools"]] == ["time_in", "final_answer"]
calls, results = asked[1]["messages"][-2:]
for message in (calls, results):
    print(json.dumps(message))
print("stop:", asked[1]["stop"])
assert (calls["role"], "tool_calls" in calls) == ("assistant", False) and calls["content"][0]["text"].startswith("Calling tools:\n[{'id': 'call_0'")
assert results == {"role": "user", "content": [{"type": "text", "text": "Observation:\nnoon\nnoon"}]}, results
assert asked[1]["stop"] == ["Observation:", "Calling tools:"], asked[1]["stop"]
PY
v/bin/python t.py
