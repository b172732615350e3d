// A failure inside a stream: each JavaScript SDK raises it. stream_errors.mjs BASE_URL MODEL, of a server that recovers nothing
import assert from "node:assert/strict";
import { load } from "./packages.mjs";

const OpenAI = load("openai").default;
const Anthropic = load("@anthropic-ai/sdk").default;
const { streamText } = load("ai");
const { createOpenAI } = load("@ai-sdk/openai");
const { createAnthropic } = load("@ai-sdk/anthropic");
const { createOpenAICompatible } = load("@ai-sdk/openai-compatible");

const [base, model] = process.argv.slice(2);
const content = "Count from one to a thousand, in words.";
const messages = [{ role: "user", content }];

async function loseTheModel() {
  const answer = await fetch(`${base}/admin/v1/models/${model}/unload`, { method: "POST",
    headers: { "content-type": "application/json" }, body: JSON.stringify({ force: true }) });
  assert.equal(answer.status, 200);
}

// Reads a stream whose model is lost after some pieces.
async function collect(stream) {
  let count = 0;
  for await (const _ of stream) if (++count === 8) await loseTheModel();
  return count;
}

const openai = new OpenAI({ baseURL: `${base}/v1`, apiKey: "none", maxRetries: 0 });
const anthropic = new Anthropic({ baseURL: base, apiKey: "none", maxRetries: 0 });
const lost = (error) => { assert.match(String(error.message), new RegExp(model)); return true; };
const chat = { model, messages, max_tokens: 4000, ignore_eos: true };

await assert.rejects(async () => collect(await openai.chat.completions.create({ ...chat, stream: true })), lost);
// The helpers' iterators end where no read was pending at the failure; their final promise has the error.
await assert.rejects(async () => { const stream = openai.chat.completions.stream(chat); await collect(stream); await stream.finalChatCompletion(); }, lost);
await assert.rejects(async () => collect(await anthropic.messages.create({ model, messages, max_tokens: 4000, temperature: 0, stream: true })), lost);
await assert.rejects(async () => { const stream = anthropic.messages.stream({ model, messages, max_tokens: 4000, temperature: 0 }); await collect(stream); await stream.finalMessage(); }, lost);
const kinds = [];
for await (const event of await openai.responses.create({ model, input: messages, max_output_tokens: 4000, stream: true, store: false })) {
  if (kinds.push(event.type) === 8) await loseTheModel();
}
assert.equal(kinds.at(-1), "response.failed");

const providers = { responses: createOpenAI({ baseURL: `${base}/v1`, apiKey: "none" }).responses(model),
  chat: createOpenAI({ baseURL: `${base}/v1`, apiKey: "none" }).chat(model),
  anthropic: createAnthropic({ baseURL: `${base}/v1`, apiKey: "none" })(model),
  compatible: createOpenAICompatible({ name: "mlxd", baseURL: `${base}/v1` })(model) };
for (const [name, language] of Object.entries(providers)) {
  const errors = [];
  const stream = streamText({ model: language, prompt: content, maxOutputTokens: 4000, temperature: 0, maxRetries: 0, onError: ({ error }) => errors.push(error) });
  let count = 0;
  for await (const part of stream.fullStream) if (part.type === "text-delta" && ++count === 8) await loseTheModel();
  assert.ok(count >= 8 && errors.length > 0, `${name} ends after ${count} pieces as if all were well`);
}
console.log("all checks passed");
