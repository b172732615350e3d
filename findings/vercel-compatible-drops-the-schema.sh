#!/usr/bin/env bash
# Guess: `generateObject({schema})` sends the schema to an OpenAI-compatible server, or at least writes it into the prompt.
# Reality: `createOpenAICompatible` sends `{"type": "json_object"}` and no schema at all, neither in the request nor in the prompt, until
#   the provider is made with `supportsStructuredOutputs: true`. The model hears nothing of the fields. `Output.object` does the same.
# Versions: ai 6.0.326, @ai-sdk/openai-compatible 2.0.92, zod 4.6.7 (npm); a stub server on this machine's loopback records the request.
# For a server author: users report that your constrained decoding "ignores the schema". It never arrived: put the switch into the docs.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-fund --no-audit ai@6.0.326 @ai-sdk/openai-compatible@2.0.92 zod@4.6.7 > /dev/null
npm ls --depth=0 | grep @
cat > t.mjs <<'JS'
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateObject, generateText, Output } from "ai";
import { z } from "zod";

const seen = [];
const server = createServer((request, response) => {
  let body = "";
  request.on("data", (piece) => (body += piece));
  request.on("end", () => {
    seen.push(JSON.parse(body));
    const message = { role: "assistant", content: '{"altitude": 12}' };
    const answer = { id: "c", created: 1, model: "m", choices: [{ index: 0, message, finish_reason: "stop" }] };
    response.setHeader("content-type", "application/json").end(JSON.stringify(answer));
  });
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const baseURL = `http://127.0.0.1:${server.address().port}/v1`;
const schema = z.object({ altitude: z.int() });
globalThis.AI_SDK_LOG_WARNINGS = false;

for (const supportsStructuredOutputs of [undefined, false, true]) {
  const model = createOpenAICompatible({ name: "local", baseURL, supportsStructuredOutputs })("m");
  const whole = await generateObject({ model, schema, prompt: "How high?" });
  const text = await generateText({ model, output: Output.object({ schema }), prompt: "How high?" });
  assert.deepEqual([whole.object, text.output], [{ altitude: 12 }, { altitude: 12 }]);
  for (const sent of seen.splice(0)) {
    console.log(supportsStructuredOutputs, JSON.stringify(sent));
    assert.equal(sent.response_format.type, supportsStructuredOutputs ? "json_schema" : "json_object");
    assert.equal(JSON.stringify(sent).includes("altitude"), supportsStructuredOutputs === true);
  }
}
server.close();
JS
node t.mjs
