// The official Anthropic SDK for JavaScript against mlxd: anthropic_messages.mjs BASE_URL MODEL
import assert from "node:assert/strict";
import { load } from "./packages.mjs";

const Anthropic = load("@anthropic-ai/sdk").default;
const [baseURL, model] = process.argv.slice(2);
const client = new Anthropic({ baseURL, apiKey: "none", timeout: 240_000, maxRetries: 0 });
const request = {
  model,
  max_tokens: 24,
  temperature: 0,
  system: "You continue number sequences.",
  messages: [{ role: "user", content: "Continue: 2, 4, 6, 8, 10, 12," }],
};

const plain = await client.messages.create(request);
assert.equal(plain.type, "message");
assert.equal(plain.content[0].type, "text");
const { usage } = plain;
const counted = await client.messages.countTokens({ model, system: request.system, messages: request.messages });
assert.equal(usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens, counted.input_tokens);

const kinds = [];
let text = "";
const stream = client.messages.stream(request).on("text", (delta) => (text += delta));
for await (const event of stream) kinds.push(event.type);
const message = await stream.finalMessage();
assert.equal(text, plain.content[0].text);
assert.equal(message.content[0].text, text);
assert.equal(message.stop_reason, plain.stop_reason);
assert.equal(kinds[0], "message_start");
assert.equal(kinds.at(-1), "message_stop");

const stopped = await client.messages.create({ ...request, stop_sequences: [text.slice(4, 8)] });
assert.deepEqual([stopped.stop_reason, stopped.stop_sequence], ["stop_sequence", text.slice(4, 8)]);

await assert.rejects(client.messages.create({ ...request, model: "no-such-model" }), (error) => {
  assert(error instanceof Anthropic.NotFoundError);
  assert.equal(error.error.error.type, "not_found_error");
  assert(error.requestID);
  return true;
});
await assert.rejects(client.messages.create({ ...request, messages: [] }), Anthropic.BadRequestError);

const models = [];
for await (const listed of client.models.list({ limit: 1 })) models.push(listed.id);
assert(models.includes(model));

console.log("all checks passed");
