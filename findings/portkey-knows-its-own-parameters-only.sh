#!/usr/bin/env bash
# Guess: Portkey's gateway with a host of one's own passes on what a request has, and what the server adds to the answer.
# Reality: it sends the parameters of its own list. As provider `openai` it drops top_k, min_p, repetition penalties, `chat_template_kwargs`, `thinking` and `reasoning`, as
#   `ollama` also `tool_choice`, `parallel_tool_calls`, `reasoning_effort`, `logit_bias` and `n`: a call may come though the request said "none". No error, no warning, and
#   `x-portkey-strict-open-ai-compliance: false` changes none of it. As `together-ai` the answer loses its reasoning and the count of cached tokens.
# Versions: @portkey-ai/gateway 1.15.2 (npm); a stub server on this machine's loopback.
# For a server author: "thinking cannot be turned off" and "tool_choice is ignored" may be true of what arrived. Look at the request, and let the alias of a model
#   hold such settings.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
gateway=
trap 'if [ -n "$gateway" ]; then kill "$gateway" || true; wait "$gateway" || true; fi; rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-fund --no-audit @portkey-ai/gateway@1.15.2 > /dev/null 2>&1
npm ls --depth=0 | grep @portkey
port=$(node -e 'const s = require("net").createServer(); s.listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close(); })')
PORT=$port node node_modules/@portkey-ai/gateway/build/start-server.js --port="$port" > gateway.txt 2>&1 &
gateway=$!
cat > t.mjs <<'JS'
import assert from "node:assert/strict";
import { createServer } from "node:http";

let asked;
const server = createServer(async (request, response) => {
  let body = "";
  for await (const part of request) body += part;
  asked = JSON.parse(body);
  const message = { role: "assistant", content: "Hello", reasoning_content: "It greets." };
  const usage = { prompt_tokens: 7, completion_tokens: 1, total_tokens: 8, prompt_tokens_details: { cached_tokens: 3 } };
  response.setHeader("content-type", "application/json");
  const choices = [{ index: 0, message, finish_reason: "stop" }];
  response.end(JSON.stringify({ id: "c", object: "chat.completion", created: 1, model: "m", choices, usage }));
});
await new Promise((then) => server.listen(0, "127.0.0.1", then));
const gateway = `http://127.0.0.1:${process.argv[2]}`;
for (let tries = 0; tries < 120; tries++) {
  try { await fetch(gateway); break; } catch { await new Promise((then) => setTimeout(then, 500)); }
}
const body = {
  model: "m", messages: [{ role: "user", content: "Hi" }], temperature: 0, max_tokens: 9, seed: 1, stop: ["x"],
  tools: [{ type: "function", function: { name: "f", parameters: { type: "object" } } }],
  tool_choice: "none", parallel_tool_calls: false, reasoning_effort: "low", logit_bias: { 5: -100 }, n: 2,
  top_k: 5, min_p: 0.1, repetition_penalty: 1.1, repeat_penalty: 1.1, chat_template_kwargs: { enable_thinking: false }, thinking: { type: "disabled" },
  reasoning: { effort: "low" },
};
const local = ["top_k", "min_p", "repetition_penalty", "repeat_penalty", "chat_template_kwargs", "thinking", "reasoning"];
const more = ["tool_choice", "parallel_tool_calls", "reasoning_effort", "logit_bias", "n"];
// Portkey adds /v1 itself as `ollama` and `together-ai`.
for (const [provider, path, dropped, headers, thought] of [
  ["openai", "/v1", local, {}, true], ["openai", "/v1", local, { "x-portkey-strict-open-ai-compliance": "false" }, true], ["ollama", "", [...local, ...more], {}, true],
  ["together-ai", "", null, {}, false],
]) {
  const host = `http://127.0.0.1:${server.address().port}${path}`;
  const all = { "content-type": "application/json", authorization: "Bearer none", "x-portkey-provider": provider, "x-portkey-custom-host": host, ...headers };
  const answer = await (await fetch(gateway + "/v1/chat/completions", { method: "POST", headers: all, body: JSON.stringify(body) })).json();
  const missing = Object.keys(body).filter((name) => !(name in asked));
  const { message } = answer.choices[0];
  console.log(`${provider} ${JSON.stringify(headers)}: dropped ${missing.join(", ")} | answer ${JSON.stringify(message)} ${JSON.stringify(answer.usage)}`);
  if (dropped) assert.deepEqual(missing.toSorted(), dropped.toSorted());
  assert.equal(message.content, "Hello");
  assert.equal(message.reasoning_content === "It greets.", thought);
  assert.equal(answer.usage.prompt_tokens_details?.cached_tokens === 3, thought);
}
process.exit();
JS
node t.mjs "$port"
