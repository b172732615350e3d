#!/usr/bin/env bash
# Guess: Mastra sends a tool's Zod schema to an OpenAI-compatible server as Zod states it, whatever the model is called.
# Reality: names decide. With "google/", "gemini", "claude" or "meta-llama" in the model's name every bound, pattern and format becomes a sentence in `description`;
#   for Google's also `additionalProperties: false` goes and a type with null becomes `nullable: true` beside an `enum` without null. "openai/"
#   there, or a provider called "openai", loses them too and makes each optional field required, with null allowed. "qwen3" and mlx-community's gpt-oss keep all.
# Versions: @mastra/core 1.71.0, @ai-sdk/openai-compatible 2.0.92, zod 4.6.7, ajv 8.20.0 (npm); a stub server on this machine's loopback.
# For a server author: a server that enforces schemas enforces what arrives. Under `google/gemma-3` the same call may be out of bounds, and a null is wrong.
# Grounds: far
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-fund --no-audit @mastra/core@1.71.0 @ai-sdk/openai-compatible@2.0.92 zod@4.6.7 ajv@8.20.0 > /dev/null 2>&1
npm ls --depth=0 | grep @
cat > t.mjs <<'JS'
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { Agent } from "@mastra/core/agent";
import { createTool } from "@mastra/core/tools";
import { Ajv } from "ajv";
import { z } from "zod";

let asked;
const server = createServer(async (request, response) => {
  let body = "";
  for await (const part of request) body += part;
  asked = JSON.parse(body);
  const choice = { index: 0, message: { role: "assistant", content: "Hello" }, finish_reason: "stop" };
  const usage = { prompt_tokens: 7, completion_tokens: 1, total_tokens: 8 };
  const head = { id: "c", created: 1, model: "m" };
  if (!asked.stream) {
    response.setHeader("content-type", "application/json");
    return response.end(JSON.stringify({ ...head, object: "chat.completion", choices: [choice], usage }));
  }
  response.setHeader("content-type", "text/event-stream");
  const chunks = [{ index: 0, delta: choice.message, finish_reason: null }, { index: 0, delta: {}, finish_reason: "stop" }];
  response.end(chunks.map((one) => `data: ${JSON.stringify({ ...head, object: "chat.completion.chunk", choices: [one], usage })}\n\n`).join("") + "data: [DONE]\n\n");
});
await new Promise((then) => server.listen(0, "127.0.0.1", then));
const baseURL = `http://127.0.0.1:${server.address().port}/v1`;
const inputSchema = z.object({ name: z.string().min(2), count: z.int().min(1).max(9), kind: z.enum(["a", "b"]).nullable(), note: z.string().optional() });
const book = createTool({ id: "book", description: "Books.", inputSchema, execute: async () => "booked" });
const right = { name: "Ada", count: 3, kind: null };
const beyond = { name: "", count: 100, kind: "a" };
for (const [provider, model, keeps, nulls, needed] of [
  ["local", "qwen3", true, true, 3],
  ["local", "llama", true, true, 3],
  ["local", "mlx-community/gpt-oss-20b", true, true, 3],
  ["local", "openai/gpt-oss-20b", false, true, 4],
  ["local", "meta-llama/Llama-3.1-8B", false, true, 3],
  ["local", "my-claude-like", false, true, 3],
  ["local", "gemini-distilled", false, false, 3],
  ["local", "google/gemma-3", false, false, 3],
  ["openai", "qwen3", false, true, 4],
]) {
  const served = createOpenAICompatible({ name: provider, baseURL, apiKey: "none" })(model);
  await new Agent({ id: "a", name: "a", instructions: "Book.", model: served, tools: { book } }).generate("Hi");
  const { $schema, ...schema } = asked.tools[0].function.parameters;
  const valid = new Ajv({ strict: false }).compile(schema);
  const allowsNull = JSON.stringify(schema.properties.kind).includes('"null"');
  const seen = { keeps: !valid({ ...beyond, note: "x" }), nulls: allowsNull, needed: schema.required.length };
  console.log(`${provider}, ${model}:`, JSON.stringify(schema.properties.count), JSON.stringify(schema.properties.kind), "required:", schema.required.join());
  assert.deepEqual(seen, { keeps, nulls, needed });
  assert.equal(valid({ ...right, note: "x" }), nulls);
  assert.ok(inputSchema.safeParse(right).success && !inputSchema.safeParse(beyond).success);
  assert.equal("additionalProperties" in schema, nulls);
}
process.exit();
JS
node t.mjs
