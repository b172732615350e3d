#!/usr/bin/env bash
# Guess: a tool of the Python MCP SDK with a parameter `text: str | None` gets the text that the client sends.
# Reality: only a parameter whose annotation is exactly `str` does. For any other one a text that is JSON is parsed first: "null" arrives
#   as None, and `{"a": 1}` or `[1]` is a list or an object, which then fails as "not a valid string". Plain texts and "12" pass, so tests do.
# Versions: mcp 2.3.0 (PyPI), pydantic 2.14.4, Python 3.11.
# For a server author: a model whose call is right by the tool's own schema gets a validation error, tries again and loops: agents that
#   write JSON files or search for "null" through such a tool fail whatever your grammar enforces. Declare `text: str = ""`.
# Grounds: deep
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check mcp==2.3.0 pydantic==2.14.4
cat > t.py <<'PY'
import asyncio
from importlib.metadata import version
from mcp.server import MCPServer

print({name: version(name) for name in ("mcp", "pydantic")})
server = MCPServer("notes")

@server.tool()
def plain(text: str) -> str:
    return repr(text)

@server.tool()
def optional(text: str | None = None) -> str:
    return repr(text)

@server.tool()
def either(text: int | str) -> str:
    return repr(text)

async def call(tool, text):
    try:
        answer = await server.call_tool(tool, {"text": text})
    except Exception as error:
        assert "valid string" in str(error), error
        return "fails"
    return (answer.content if hasattr(answer, "content") else answer[0])[0].text

async def main():
    schemas = {tool.name: tool.input_schema["properties"]["text"] for tool in await server.list_tools()}
    assert {"type": "string"} in schemas["optional"]["anyOf"], schemas
    rows = [("hello", "'hello'", "'hello'"), ("12", "'12'", "'12'"), ("true", "'true'", "'true'"), ("null", "'null'", "None"),
            ('{"a": 1}', "'{\"a\": 1}'", "fails"), ("[1]", "'[1]'", "fails")]
    for text, whole, parsed in rows:
        seen = await call("plain", text), await call("optional", text)
        print(f"{text:10} str: {seen[0]:12} str | None: {seen[1]}")
        assert seen == (whole, parsed), seen
    assert await call("either", "[1]") == "fails"

asyncio.run(main())
PY
v/bin/python t.py
