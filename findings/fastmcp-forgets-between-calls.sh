#!/usr/bin/env bash
# Guess: what a FastMCP tool puts into `ctx.set_state` is there in the next call of the same client, as long as it stays connected.
# Reality: that depends on the client. FastMCP's own speaks the protocol of 2026-07-28 by default, where each request is a connection of its own: `get_state`
#   returns None in the next call, without an error or a warning. With `mode="legacy"` and for a client of mcp 1.30, the value is there. So a login, a basket or a
#   page number is lost for new clients only, even over one pipe to one process.
# Versions: fastmcp 4.2.3 with mcp 2.3.0, mcp 1.30.0 (PyPI); one server, over standard input and output.
# For a server author: "the tool forgot who I am" comes with an upgrade of the client. Keep such things under a handle that is an argument of the tool.
# Grounds: new
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
for name in new old; do python3 -m venv $name; done
new/bin/pip install -q --disable-pip-version-check fastmcp==4.2.3 mcp==2.3.0
old/bin/pip install -q --disable-pip-version-check mcp==1.30.0
cat > server.py <<'PY'
from fastmcp import Context, FastMCP

server = FastMCP("basket")

@server.tool
async def put(item: str, context: Context) -> str:
    """Puts something into the basket."""
    await context.set_state("item", item)
    return await context.get_state("item")

@server.tool
async def look(context: Context) -> str:
    """Tells what is in the basket."""
    return str(await context.get_state("item"))

server.run(show_banner=False)
PY
cat > new.py <<'PY'
import asyncio, sys, warnings
from importlib.metadata import version
from fastmcp import Client
from fastmcp.client.transports import StdioTransport

warnings.simplefilter("error")

async def main(mode):
    async with Client(StdioTransport(sys.executable, ["server.py"]), mode=mode) as client:
        put = (await client.call_tool("put", {"item": "apple"})).data
        look = (await client.call_tool("look", {})).data
        print("fastmcp", version("fastmcp"), f"mode={mode}, protocol {client.protocol_version}: put {put}, look {look}")
        return put, look

assert asyncio.run(main("auto")) == ("apple", "None")
assert asyncio.run(main("legacy")) == ("apple", "apple")
PY
cat > old.py <<'PY'
import asyncio, sys
from importlib.metadata import version
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

async def main():
    async with stdio_client(StdioServerParameters(command=sys.argv[1], args=["server.py"])) as streams, ClientSession(*streams) as session:
        started = await session.initialize()
        seen = [(await session.call_tool(name, arguments)).content[0].text for name, arguments in (("put", {"item": "apple"}), ("look", {}))]
        print("mcp", version("mcp"), f"protocol {started.protocolVersion}: put {seen[0]}, look {seen[1]}")
        assert seen == ["apple", "apple"]

asyncio.run(main())
PY
new/bin/python new.py
old/bin/python old.py new/bin/python
