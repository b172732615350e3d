#!/usr/bin/env bash
# Guess: `registerTool` of the TypeScript MCP SDK throws for an input schema that JSON Schema cannot express, such as `z.date()`, or the
#   server lists the tool without that property.
# Reality: registering is silent. `tools/list` fails as a whole: "Date cannot be represented in JSON Schema", so that the agent has none of
#   the server's tools, while calls of the other tools work. An output schema with a transform does the same. Versions 1 and 2 agree.
# Versions: @modelcontextprotocol/server and client 2.4.0, @modelcontextprotocol/sdk 1.32.2, zod 4.6.7 (npm).
# For a server author: a model that suddenly has no tools at all may have lost them to one property of one tool. Agents ask on
#   without tools; the request looks whole.
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

const name = { name: "calendar", version: "1" };
const answer = async () => ({ content: [{ type: "text", text: "noon" }], structuredContent: { at: "12" } });

async function run(kinds, tools) {
  const server = new kinds.Server(name), client = new kinds.Client(name);
  server.registerTool("now", { inputSchema: z.object({}) }, answer);
  for (const [tool, schemas] of Object.entries(tools)) server.registerTool(tool, { inputSchema: z.object({}), ...schemas }, answer);
  const [here, there] = kinds.Transport.createLinkedPair();
  await Promise.all([server.connect(here), client.connect(there)]);
  let listed;
  try { listed = (await client.listTools()).tools.map((tool) => tool.name).join(" "); } catch (error) { listed = error.message; }
  const called = (await client.callTool({ name: "now", arguments: {} })).content[0].text;
  await client.close();
  return [listed.replace(/^MCP error -?\d+: /, ""), called];
}

for (const [version, kinds] of [["2.4.0", { Server: McpServer, Client, Transport: InMemoryTransport }],
  ["1.32.2", { Server: McpServer1, Client: Client1, Transport: Transport1 }]]) {
  for (const [what, tools, expected] of [
    ["a text", { free: { inputSchema: z.object({ day: z.iso.date() }) } }, "now free"],
    ["a date", { free: { inputSchema: z.object({ day: z.date().optional() }) } }, "Date cannot be represented in JSON Schema"],
    ["a transformed input", { free: { inputSchema: z.object({ day: z.string().transform((day) => new Date(day)) }) } }, "now free"],
    ["a transformed output", { free: { outputSchema: z.object({ at: z.string().transform(Number) }) } },
      "Transforms cannot be represented in JSON Schema"],
  ]) {
    const seen = await run(kinds, tools);
    console.log(`${version}, ${what}: tools/list: ${seen[0]}; the other tool's call: ${seen[1]}`);
    assert.deepEqual(seen, [expected, "noon"]);
  }
}
process.exit();
JS
node t.mjs
