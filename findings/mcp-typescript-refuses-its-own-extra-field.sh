#!/usr/bin/env bash
# Guess: structured content that a TypeScript MCP server has validated against the tool's output schema is fine for the same SDK's
#   client; a field more than the schema names is dropped or ignored, as Zod does.
# Reality: the server validates with Zod, which passes extra fields, and sends them on. The schema that it lists says
#   `additionalProperties: false`, and the client validates with that: `callTool` throws, and the agent has no result. It does so only
#   after `listTools`: a client that calls without listing gets the result, so a test that just calls passes. Versions 1 and 2 agree.
# Versions: @modelcontextprotocol/server and client 2.4.0, @modelcontextprotocol/sdk 1.32.2, zod 4.6.7 (npm).
# For a server author: a tool that returns rows of a database breaks with the next column, in the agent and not in the server's tests.
#   `z.looseObject` as output schema lists `additionalProperties: {}` and works.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-fund --no-audit @modelcontextprotocol/server@2.4.0 @modelcontextprotocol/client@2.4.0 \
    @modelcontextprotocol/sdk@1.32.2 zod@4.6.7 > /dev/null
npm ls --depth=0 | grep @
cat > t.mjs <<'JS'
import assert from "node:assert/strict";
import { Client, InMemoryTransport } from "@modelcontextprotocol/client";
import { McpServer } from "@modelcontextprotocol/server";
import { Client as Client1 } from "@modelcontextprotocol/sdk/client/index.js";
import { InMemoryTransport as Transport1 } from "@modelcontextprotocol/sdk/inMemory.js";
import { McpServer as McpServer1 } from "@modelcontextprotocol/sdk/server/mcp.js";
import { z } from "zod";

async function run(kinds, outputSchema, structuredContent, lists) {
  const name = { name: "users", version: "1" };
  const server = new kinds.Server(name), client = new kinds.Client(name);
  const answer = async () => ({ content: [{ type: "text", text: JSON.stringify(structuredContent) }], structuredContent });
  server.registerTool("find", { inputSchema: z.object({}), outputSchema }, answer);
  const [here, there] = kinds.Transport.createLinkedPair();
  await Promise.all([server.connect(here), client.connect(there)]);
  if (lists) await client.listTools();
  try {
    const result = await client.callTool({ name: "find", arguments: {} });
    return result.isError ? "isError" : JSON.stringify(result.structuredContent);
  } catch (error) {
    assert.match(error.message, /must NOT have additional properties/);
    return "throws";
  } finally {
    await client.close();
  }
}

const exact = z.object({ id: z.number() }), loose = z.looseObject({ id: z.number() });
const two = { Server: McpServer, Client, Transport: InMemoryTransport };
const one = { Server: McpServer1, Client: Client1, Transport: Transport1 };
const more = { id: 1, name: "Ann" };
for (const [what, kinds, schema, content, lists, expected] of [
  ["2.4.0, the field of the schema", two, exact, { id: 1 }, true, '{"id":1}'],
  ["2.4.0, a wrong type", two, exact, { id: "1" }, true, "isError"],
  ["2.4.0, a field more", two, exact, more, true, "throws"],
  ["2.4.0, a field more, never listed", two, exact, more, false, '{"id":1,"name":"Ann"}'],
  ["2.4.0, a field more, loose schema", two, loose, more, true, '{"id":1,"name":"Ann"}'],
  ["1.32.2, a field more", one, exact, more, true, "throws"],
  ["1.32.2, a field more, never listed", one, exact, more, false, '{"id":1,"name":"Ann"}'],
]) {
  const seen = await run(kinds, schema, content, lists);
  console.log(`${what}: ${seen}`);
  assert.equal(seen, expected);
}
process.exit();
JS
node t.mjs
