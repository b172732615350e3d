#!/usr/bin/env bash
# Guess: a client of MCP lists all tools of a server, whatever the size of a page: `nextCursor` is as old as the protocol.
# Reality: LlamaIndex and Google's ADK take the first page and leave the rest, without a warning; so does `list_tools` of the SDK that both
#   use, which at least returns the cursor. OpenAI's Agents SDK asks for all pages. The model cannot call what it never hears of.
# Versions: llama-index-tools-mcp 0.6.0, google-adk 2.13.0, openai-agents 0.24.0, mcp 2.3.0 (PyPI); an MCP server with one tool a page
#   on this machine's loopback.
# For a server author: put every tool on one page, or the tools that matter first.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
for name in llama google openai; do python3 -m venv $name; done
llama/bin/pip install -q --disable-pip-version-check llama-index-tools-mcp==0.6.0 llama-index-core==0.14.25 mcp==2.3.0
google/bin/pip install -q --disable-pip-version-check google-adk==2.13.0 mcp==2.3.0
openai/bin/pip install -q --disable-pip-version-check openai-agents==0.24.0 mcp==2.3.0
cat > t.py <<'PY'
import json, subprocess, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAMES = ["read_file", "write_file", "delete_file"]
cursors = []

class Stub(BaseHTTPRequestHandler):
    def answer(self, status, body=None):
        data = json.dumps(body).encode() if body else b""
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def do_GET(self):
        self.answer(405)
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if "id" not in asked:
            return self.answer(202)
        head = {"jsonrpc": "2.0", "id": asked["id"]}
        parameters = asked.get("params") or {}
        if asked["method"] == "initialize":
            about = {"protocolVersion": parameters["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": {"name": "s", "version": "1"}}
            self.answer(200, {**head, "result": about})
        elif asked["method"] == "tools/list":
            cursors.append(parameters.get("cursor"))
            page = int(cursors[-1] or 0)
            result = {"tools": [{"name": NAMES[page], "description": "x", "inputSchema": {"type": "object", "properties": {}}}]}
            if page + 1 < len(NAMES):
                result["nextCursor"] = str(page + 1)
            self.answer(200, {**head, "result": result})
        else:
            self.answer(200, {**head, "error": {"code": -32601, "message": "no such method"}})
    def log_message(self, *_): pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
for name, expected in [("llama", NAMES[:1]), ("google", NAMES[:1]), ("openai", NAMES)]:
    cursors.clear()
    done = subprocess.run([f"{name}/bin/python", f"{name}_client.py", f"http://127.0.0.1:{server.server_port}/mcp"], capture_output=True, text=True,
                          timeout=120)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    print(f"{name}: asks for the pages {cursors}, has the tools {seen}")
    assert seen == expected and cursors == [None, "1", "2"][: len(expected)]
PY
cat > llama_client.py <<'PY'
import asyncio, json, sys
from llama_index.tools.mcp import BasicMCPClient, McpToolSpec
tools = asyncio.run(McpToolSpec(client=BasicMCPClient(sys.argv[1])).to_tool_list_async())
print(json.dumps([tool.metadata.name for tool in tools]))
PY
cat > google_client.py <<'PY'
import asyncio, json, sys
from google.adk.tools.mcp_tool import McpToolset, StreamableHTTPConnectionParams
async def main():
    toolset = McpToolset(connection_params=StreamableHTTPConnectionParams(url=sys.argv[1]))
    print(json.dumps([tool.name for tool in await toolset.get_tools()]))
    await toolset.close()
asyncio.run(main())
PY
cat > openai_client.py <<'PY'
import asyncio, json, sys
from agents.mcp import MCPServerStreamableHttp
async def main():
    async with MCPServerStreamableHttp(params={"url": sys.argv[1]}) as server:
        print(json.dumps([tool.name for tool in await server.list_tools()]))
asyncio.run(main())
PY
python3 t.py
