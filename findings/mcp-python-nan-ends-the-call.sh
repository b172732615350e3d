#!/usr/bin/env bash
# Guess: a tool annotated `-> float` may return NaN: the client gets null or NaN, or at the worst a result with `isError`.
# Reality: the server validates its result before it is JSON, so NaN is a number and passes. JSON makes null of it, and the client
#   validates that against the tool's own output schema: `call_tool` raises RuntimeError. The model never sees a result, and the agent's
#   loop ends unless it catches bare exceptions. The text block beside it holds "NaN".
# Versions: mcp 2.3.0 (PyPI), Python 3.11.
# For a server author: a mean over no values is enough. A conversation may end in a call without a result after that; do not refuse the
#   next turn for it.
# Grounds: deep
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check mcp==2.3.0
cat > t.py <<'PY'
import asyncio, logging, math
from importlib.metadata import version
import mcp
from mcp.server import MCPServer

print("mcp", version("mcp"))
logging.disable()
server = MCPServer("statistics")

@server.tool()
def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan

@server.tool()
def untyped(values: list[float]):
    return sum(values) / len(values) if values else math.nan

@server.tool()
def strict(values: list[float]) -> float:
    if not values:
        raise ValueError("no values")
    return sum(values) / len(values)

async def call(client, tool, values):
    try:
        answer = await client.call_tool(tool, {"values": values})
    except RuntimeError as error:
        assert "Invalid structured content" in str(error) and "None is not of type 'number'" in str(error), error
        return "raises RuntimeError"
    return "error" if answer.is_error else answer.content[0].text

async def main():
    there = await server.call_tool("mean", {"values": []})
    assert math.isnan(there.structured_content["result"]) and there.content[0].text == "NaN" and not there.is_error
    print("within the server: a result with", there.structured_content)
    async with mcp.Client(server) as client:
        for tool, values, expected in [("mean", [1, 2], "1.5"), ("mean", [], "raises RuntimeError"), ("untyped", [], "NaN"),
                                       ("strict", [], "error")]:
            seen = await call(client, tool, values)
            print(f"{tool}({values}): the client {'gets ' if seen != 'raises RuntimeError' else ''}{seen}")
            assert seen == expected, (tool, values, seen)

asyncio.run(main())
PY
v/bin/python t.py
