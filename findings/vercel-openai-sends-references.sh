#!/usr/bin/env bash
# Guess: `createOpenAI({ baseURL })` of Vercel's AI SDK keeps the conversation in the client and sends it whole with each turn, like its
#   other providers: `messages` and `response.messages` hold all of it.
# Reality: the provider speaks Responses and counts on storage. An answer of an earlier turn goes out as `{"type": "item_reference", "id": …}`
#   without its text; a tool's call goes out whole. So an old conversation fails on a server that has forgotten the items or never
#   stored them. `store: false` in the provider's options sends the text.
# Versions: ai 7.0.173, @ai-sdk/openai 4.0.118, zod 4.6.7 (npm); a stub server on this machine's loopback.
# For a server author: to serve Responses for this client means to keep output items by id, across restarts, for as long as users keep
#   their chats. `openai.chat("…")` or @ai-sdk/openai-compatible need no storage.
# Grounds: deep
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-fund --no-audit ai@7.0.173 @ai-sdk/openai@4.0.118 zod@4.6.7 > /dev/null
npm ls --depth=0 | grep @
cat > t.mjs <<'JS'
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, tool } from "ai";
import { z } from "zod";

const text = { id: "msg_1", type: "message", role: "assistant", status: "completed",
  content: [{ type: "output_text", text: "Hello there", annotations: [] }] };
const call = { id: "fc_1", type: "function_call", status: "completed", call_id: "call_1", name: "now", arguments: "{}" };
let asked, output;
const server = createServer(async (request, response) => {
  let body = "";
  for await (const part of request) body += part;
  asked = JSON.parse(body);
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify({ id: "resp_1", object: "response", created_at: 1, model: "m", status: "completed", output: [output], tools: [],
    error: null, incomplete_details: null, parallel_tool_calls: true, tool_choice: "auto",
    usage: { input_tokens: 1, output_tokens: 1, total_tokens: 2, input_tokens_details: { cached_tokens: 0 },
      output_tokens_details: { reasoning_tokens: 0 } } }));
});
await new Promise((then) => server.listen(0, "127.0.0.1", then));
const openai = createOpenAI({ baseURL: `http://127.0.0.1:${server.address().port}`, apiKey: "none" });
const tools = { now: tool({ inputSchema: z.object({}), execute: () => "noon" }) };

async function second(first, options) {
  const question = { role: "user", content: "Hello" };
  output = first;
  const answer = await generateText({ model: openai("m"), messages: [question], tools, ...options });
  assert.equal(asked.previous_response_id, undefined);
  output = text;
  await generateText({ model: openai("m"), messages: [question, ...answer.response.messages, question], tools, ...options });
  return asked.input.slice(1, -1);
}

const stored = {};
const apart = { providerOptions: { openai: { store: false } } };
for (const [name, first, options, expected] of [
  ["a text", text, stored, ["item_reference"]],
  ["a call", call, stored, ["function_call", "function_call_output"]],
  ["a text, store false", text, apart, ["assistant"]],
  ["a call, store false", call, apart, ["function_call", "function_call_output"]],
]) {
  const items = await second(first, options);
  console.log(`${name}: the next turn sends ${JSON.stringify(items)}`);
  assert.deepEqual(items.map((item) => item.type ?? item.role), expected);
  assert.equal(JSON.stringify(items).includes("Hello there"), first === text && options === apart);
}
server.close();
JS
node t.mjs
