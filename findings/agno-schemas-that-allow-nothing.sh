#!/usr/bin/env bash
# Guess: a framework that makes a tool's schema from Python types describes a date as a string, an enumeration of numbers by its numbers, and Any as anything.
# Reality: Agno knows a handful of names of types. Each other class is an object without properties and without further ones, so `{}` is all that a date, a UUID,
#   a path or a `dict[str, Any]` may hold. An enumeration of numbers is `{"type": "string", "enum": [1, 2]}`, which nothing satisfies. Bounds of Annotated
#   are dropped.
# Versions: agno 3.1.10, pydantic 2.14.4, jsonschema 4.26.0, openai 3.57.0 (PyPI); a stub server on this machine's loopback takes the request.
# For a server author: a server that does not enforce schemas seems to work, as the model ignores them. One that does generates `{}` for the date, or refuses
#   the request, and is right.
# Grounds: costly
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check agno==3.1.10 pydantic==2.14.4 jsonschema==4.26.0 openai==3.57.0
cat > t.py <<'PY'
import datetime, enum, json, pathlib, threading, typing, uuid
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
import jsonschema, pydantic
from agno.agent import Agent
from agno.models.openai.like import OpenAILike

print({name: version(name) for name in ("agno", "pydantic", "jsonschema")})
asked = []

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        choice = {"index": 0, "message": {"role": "assistant", "content": "Done"}, "finish_reason": "stop"}
        body = json.dumps({"id": "c", "object": "chat.completion", "created": 1, "model": "local", "choices": [choice],
                           "usage": {"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8}}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass

class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2

def book(day: datetime.date, key: uuid.UUID, file: pathlib.Path, level: Level, extra: dict[str, typing.Any],
         seats: typing.Annotated[int, pydantic.Field(ge=1)], name: str) -> str:
    """Books a room."""
    return "booked"

server = HTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
model = OpenAILike(id="local", base_url=f"http://127.0.0.1:{server.server_port}/v1", api_key="none")
Agent(model=model, tools=[book], telemetry=False).run("Book a room.")
properties = asked[0]["tools"][0]["function"]["parameters"]["properties"]
pydantic_properties = pydantic.TypeAdapter(book).json_schema()["properties"]

def allows(schema, value):
    return jsonschema.Draft202012Validator(schema).is_valid(value)

for name, value, agno, pydantics, empty in [
    ("day", "2026-11-30", False, True, True), ("key", str(uuid.UUID(int=1)), False, True, True), ("file", "a.txt", False, True, True),
    ("level", 1, False, True, False), ("extra", {"colour": "red"}, False, True, True), ("seats", 0, True, False, False), ("name", "A", True, True, False),
]:
    schema, other = properties[name], pydantic_properties[name]
    if "$ref" in other:
        other = {"enum": [1, 2]}
    seen = allows(schema, value), allows(other, value), allows(schema, {})
    print(f"{name}: {json.dumps(schema)}; allows {value!r}: {seen[0]} (pydantic's schema: {seen[1]}), allows {{}}: {seen[2]}")
    assert seen == (agno, pydantics, empty), seen
PY
v/bin/python t.py
