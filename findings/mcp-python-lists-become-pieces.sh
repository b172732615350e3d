#!/usr/bin/env bash
# Guess: a tool of a Python MCP server that returns a list gives the model one JSON text, and an empty list gives "[]".
# Reality: the SDK makes a content block of each element and drops the brackets: ["a, b", "c"] is "a, b" and "c". An empty list, and
#   None, give no content at all. FastMCP writes one JSON text for the same function, but nothing either for an empty list or None. Only
#   `structuredContent` holds the list, and only if the return type is annotated.
# Versions: mcp 2.3.0, fastmcp 4.2.3 (PyPI), Python 3.11.
# For a server author: "no hits" reaches the model as a result without any text. An agent that sends `content` on sends you an empty
#   result of a tool: take it, and let the template show that the tool answered.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check mcp==2.3.0 fastmcp==4.2.3
cat > t.py <<'PY'
import asyncio
from importlib.metadata import version
import fastmcp, mcp
from mcp.server import MCPServer

print({name: version(name) for name in ("mcp", "fastmcp")})
official, other = MCPServer("files"), fastmcp.FastMCP("files")

def find(found: int) -> list[str]:
    return ["a, b", "c"][:found]

def untyped(found: int):
    return ["a, b", "c"][:found]

def first(found: int) -> str | None:
    return "a, b" if found else None

for tool in (find, untyped, first):
    official.tool()(tool)
    other.tool(tool)

async def call(client, tool, found):
    answer = await client.call_tool(tool, {"found": found})
    return [block.text for block in answer.content], answer.structured_content

async def main():
    whole, none = ['["a, b","c"]'], {"result": []}
    async with mcp.Client(official) as one, fastmcp.Client(other) as two:
        for tool, found, expected in [
            ("find", 2, ((["a, b", "c"], {"result": ["a, b", "c"]}), (whole, {"result": ["a, b", "c"]}))),
            ("find", 0, (([], none), ([], none))),
            ("untyped", 2, ((["a, b", "c"], None), (whole, None))),
            ("untyped", 0, (([], None), ([], None))),
            ("first", 0, (([], {"result": None}), ([], {"result": None}))),
        ]:
            seen = await call(one, tool, found), await call(two, tool, found)
            print(f"{tool}, {found} found: mcp {seen[0]}, fastmcp {seen[1]}")
            assert seen == expected, (tool, found, seen)

asyncio.run(main())
PY
v/bin/python t.py
