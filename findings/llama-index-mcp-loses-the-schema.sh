#!/usr/bin/env bash
# Guess: LlamaIndex hands the input schema of an MCP tool to the model, as other clients do.
# Reality: it builds a Python class of the schema and a new schema of that. Bounds, patterns, formats, lengths and constants are gone, and
#   every optional field may be null, which the server's schema forbids. A null that the model then sends is passed on to the server.
#   OpenAI's Agents SDK sends the schema as it is.
# Versions: llama-index-tools-mcp 0.6.0, llama-index-core 0.14.25, llama-index-llms-openai-like 0.8.1, mcp 2.3.0, jsonschema 4.26.0 (PyPI);
#   stub servers on this machine's loopback are the MCP server and the model.
# For a server author: constrained decoding enforces what arrives. Calls that are right by the request's schema fail at the tool.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check llama-index-tools-mcp==0.6.0 llama-index-core==0.14.25 llama-index-llms-openai-like==0.8.1 \
  mcp==2.3.0 jsonschema==4.26.0
cat > t.py <<'PY'
import asyncio, json, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
import jsonschema
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.llms.openai_like import OpenAILike
from llama_index.tools.mcp import BasicMCPClient, McpToolSpec

print({name: version(name) for name in ("llama-index-tools-mcp", "llama-index-core", "mcp")})
FIELDS = {
    "mode": {"type": "string", "enum": ["fast", "slow"]},
    "count": {"type": "integer", "minimum": 1, "maximum": 9},
    "code": {"type": "string", "pattern": "^[A-Z]{3}$"},
    "day": {"type": "string", "format": "date"},
    "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 3},
    "edition": {"const": "v1"},
}
SCHEMA = {"type": "object", "properties": FIELDS, "required": ["mode", "count"], "additionalProperties": False}
ARGUMENTS = {"mode": "fast", "count": 99, "code": None, "edition": "v7"}
asked, called = [], []

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
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/mcp":
            return self.tools(body)
        asked.append(body)
        delta, end = {"role": "assistant", "content": "done"}, "stop"
        if len(asked) == 1:
            function = {"name": "book", "arguments": json.dumps(ARGUMENTS)}
            delta, end = {"role": "assistant", "tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]}, "tool_calls"
        head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        chunks = [{**head, "choices": [{"index": 0, "delta": piece, "finish_reason": reason}]} for piece, reason in ((delta, None), ({}, end))]
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        self.wfile.write(("".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n").encode())
    def tools(self, body):
        if "id" not in body:
            return self.answer(202)
        results = {"tools/list": {"tools": [{"name": "book", "description": "x", "inputSchema": SCHEMA}]},
                   "tools/call": {"content": [{"type": "text", "text": "booked"}]}}
        if body["method"] == "initialize":
            about = {"capabilities": {"tools": {}}, "serverInfo": {"name": "s", "version": "1"}}
            results["initialize"] = {"protocolVersion": body["params"]["protocolVersion"], **about}
        if body["method"] == "tools/call":
            called.append(body["params"]["arguments"])
        error = {"error": {"code": -32601, "message": "no such method"}}
        result = {"result": results[body["method"]]} if body["method"] in results else error
        self.answer(200, {"jsonrpc": "2.0", "id": body["id"], **result})
    def log_message(self, *_): pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"

async def main():
    tools = await McpToolSpec(client=BasicMCPClient(f"{url}/mcp")).to_tool_list_async()
    model = OpenAILike(model="m", api_base=f"{url}/v1", api_key="none", is_chat_model=True, is_function_calling_model=True)
    assert str(await FunctionAgent(tools=tools, llm=model).run("x")) == "done"

asyncio.run(main())
sent = asked[0]["tools"][0]["function"]["parameters"]
text = json.dumps(sent)
for name, field in sent["properties"].items():
    print(f"{name}: {json.dumps(FIELDS[name])} arrives as {json.dumps(field)}")
assert sent["properties"]["mode"]["enum"] == ["fast", "slow"] and sent["required"] == ["mode", "count"]
assert not any(word in text for word in ("minimum", "maximum", "pattern", "format", "maxItems", "const"))
assert {"type": "null"} in sent["properties"]["code"]["anyOf"]
jsonschema.validate(ARGUMENTS, sent)
broken = sorted(".".join(error.path) for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(called[0]))
print(f"the tool is called with {called[0]}: wrong by its own schema are {broken}")
assert called == [ARGUMENTS] and broken == ["code", "count", "edition"]
PY
v/bin/python t.py
