#!/usr/bin/env bash
# Guess: an agent reads all of an MCP tool's result, needs to give only the required arguments, and learns of `isError`.
# Reality: smolagents takes the first content block and drops the others (one line in the log): of a Python tool that returns a list, whose elements are a block
#   each, the model sees the first hit. A result without blocks, such as an empty list, raises. `isError` is not read: the error's text is the result. Every
#   argument is required in the schema that the model gets, whatever the server says, and a call without one is refused before the server hears of it. With
#   `structured_output=True` the list is whole.
# Versions: smolagents 1.26.0, mcpadapt 0.1.19, mcp 1.30.0 (PyPI); an MCP server in a process of its own.
# For a server author: "the search finds one page only" is not the server. Return one text, and give optional arguments a null in their type.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check smolagents==1.26.0 mcpadapt==0.1.19 mcp==1.30.0
cat > server.py <<'PY'
from mcp.server.fastmcp import FastMCP

server = FastMCP("notes", log_level="ERROR")

@server.tool()
def search(query: str, limit: int = 10, folder: str | None = None) -> list[str]:
    """Finds notes."""
    if query == "broken":
        raise ValueError("the index is gone")
    return [] if query == "nothing" else ["first note", "second note", "third note"]

server.run()
PY
cat > t.py <<'PY'
import sys
from importlib.metadata import version
from mcp import StdioServerParameters
from smolagents import MCPClient
from smolagents.models import get_tool_json_schema
from smolagents.tools import validate_tool_arguments

print({name: version(name) for name in ("smolagents", "mcpadapt", "mcp")})

def raised(call):
    try:
        return call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"

parameters = StdioServerParameters(command=sys.executable, args=["server.py"])
with MCPClient(parameters, structured_output=False) as tools:
    (search,) = tools
    schema = get_tool_json_schema(search)["function"]["parameters"]
    print("schema for the model:", schema)
    hits = search(query="all", limit=10, folder=None)
    nothing = raised(lambda: search(query="nothing", limit=10, folder=None))
    broken = raised(lambda: search(query="broken", limit=10, folder=None))
    short = raised(lambda: validate_tool_arguments(search, {"query": "all"}))
    print("three hits:", repr(hits), "| none:", nothing, "| an error:", repr(broken), "| only the required argument:", short)
with MCPClient(parameters, structured_output=True) as tools:
    whole = tools[0](query="all", limit=10, folder=None)
    print("structured_output=True:", whole)
assert hits == "first note" and whole == {"result": ["first note", "second note", "third note"]}
assert nothing.startswith("ValueError") and "empty content" in nothing
assert "the index is gone" in broken and not broken.startswith("ValueError"), broken
assert set(schema["required"]) >= {"query", "limit"} and "required" in short, (schema["required"], short)
PY
v/bin/python t.py
