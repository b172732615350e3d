#!/usr/bin/env bash
# Guess: `from_provider("ollama/NAME")` of Instructor asks each model in one way, with the schema where the server can enforce it.
# Reality: the name decides. With "llama3.1", "qwen3", "devstral" and a few more in it the schema goes as a forced tool; any other one, "llama3.3", "gemma4",
#   "gpt-oss", "Llama-3.1-8B" or an alias, is asked for `json_object`, with the schema in the prompt as a text only. The server then enforces nothing of it: an
#   answer of the wrong type passes there and costs a second request. `mode=` ends the guessing.
# Versions: instructor 1.17.0, openai 3.3.0 (PyPI); a stub server on this machine's loopback.
# For a server author: an alias for the same model changes prompts, results and failures. Compare requests before models.
# Grounds: deep
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check instructor==1.17.0 openai==3.3.0
cat > t.py <<'PY'
import json, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
import instructor
from pydantic import BaseModel, Field

class Person(BaseModel):
    name: str
    age: int = Field(ge=0)

print({name: version(name) for name in ("instructor", "openai")})
asked = []

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        # As a server does that enforces what it is asked to enforce: by the schema if there is one, else any JSON object, at first.
        enforced = "tools" in asked[-1] or (asked[-1].get("response_format") or {}).get("type") == "json_schema"
        text = json.dumps({"name": "Anna", "age": 3 if enforced or len(asked) > 1 else "three"})
        call = {"id": "c", "type": "function", "function": {"name": "Person", "arguments": text}}
        message = {"role": "assistant", "content": None, "tool_calls": [call]} if "tools" in asked[-1] else {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if "tools" in asked[-1] else "stop"}
        usage = {"prompt_tokens": 7, "completion_tokens": 9, "total_tokens": 16}
        data = json.dumps({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def log_message(self, *_): pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()

def ask(name, **more):
    asked.clear()
    client = instructor.from_provider(f"ollama/{name}", base_url=f"http://127.0.0.1:{server.server_port}/v1", **more)
    person = client.chat.completions.create(response_model=Person, messages=[{"role": "user", "content": "Anna is three."}])
    first = asked[0]
    how = "tool" if "tools" in first else first["response_format"]["type"]
    assert (person.name, person.age) == ("Anna", 3), person
    assert ("json_schema" in str(first["messages"])) == (how == "json_object"), first
    return how, len(asked)

for name in ("llama3.1:8b", "qwen3.5:9b", "mlx-community/Qwen3-8B-4bit", "devstral"):
    seen = ask(name)
    print(f"{name}: {seen[0]}, requests: {seen[1]}")
    assert seen == ("tool", 1), seen
for name in ("llama3.3:70b", "mlx-community/Llama-3.1-8B-4bit", "gemma4", "gpt-oss:20b", "mistral-small", "default"):
    seen = ask(name)
    print(f"{name}: {seen[0]}, requests: {seen[1]}")
    assert seen == ("json_object", 2), seen
seen = ask("default", mode=instructor.Mode.JSON_SCHEMA)
print("default, mode=JSON_SCHEMA:", seen)
assert seen == ("json_schema", 1), seen
PY
v/bin/python t.py
