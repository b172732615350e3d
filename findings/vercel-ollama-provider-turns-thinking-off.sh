#!/usr/bin/env bash
# Guess: a provider that is given no setting for thinking leaves it to the model, as Ollama's own clients do.
# Reality: ollama-ai-provider-v2 sends `"think": false` with each request. So a model that thinks by default answers without thinking, and nothing in
#   the answer says so. `providerOptions: { ollama: { think: true } }` turns it on. It also sends a `tool_choice`, which Ollama's API does
#   not have.
# Versions: ollama-ai-provider-v2 3.6.0, ai 6.0.326, ollama 0.6.4, zod 4.6.7 (npm); a stub server on this machine's loopback.
# For a server author: `think: false` is no wish of the user. A benchmark of one model by two clients may compare two ways to answer.
# Grounds: far
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-fund --no-audit ai@6.0.326 ollama-ai-provider-v2@3.6.0 ollama@0.6.4 zod@4.6.7 > /dev/null 2>&1
npm ls --depth=0 | grep @
cat > t.mjs <<'JS'
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { generateText, tool } from "ai";
import { Ollama } from "ollama";
import { createOllama } from "ollama-ai-provider-v2";
import { z } from "zod";

let asked;
const server = createServer(async (request, response) => {
  let body = "";
  for await (const part of request) body += part;
  asked = JSON.parse(body);
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify({ model: "m", created_at: "2026-01-01T00:00:00Z", message: { role: "assistant", content: "a" }, done: true,
    done_reason: "stop", total_duration: 1, load_duration: 1, prompt_eval_count: 1, prompt_eval_duration: 1, eval_count: 1, eval_duration: 1 }));
});
await new Promise((then) => server.listen(0, "127.0.0.1", then));
const url = `http://127.0.0.1:${server.address().port}`;
const model = createOllama({ baseURL: url + "/api" })("m");
const tools = { now: tool({ inputSchema: z.object({}), execute: () => "noon" }) };
for (const [name, ask, think, choice] of [
  ["Ollama's own client", () => new Ollama({ host: url }).chat({ model: "m", messages: [{ role: "user", content: "x" }] }), undefined, undefined],
  ["provider", () => generateText({ model, prompt: "x" }), false, undefined],
  ["provider, think: true", () => generateText({ model, prompt: "x", providerOptions: { ollama: { think: true } } }), true, undefined],
  ["provider, with a tool", () => generateText({ model, prompt: "x", tools }), false, "auto"],
]) {
  await ask();
  console.log(`${name}: think ${asked.think}, tool_choice ${asked.tool_choice}`);
  assert.equal(asked.think, think);
  assert.equal(asked.tool_choice, choice);
}
process.exit();
JS
node t.mjs
