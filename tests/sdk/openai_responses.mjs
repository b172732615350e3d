// The official OpenAI SDK for JavaScript, Responses, against mlxd: openai_responses.mjs BASE_URL MODEL
import assert from "node:assert/strict";
import { load } from "./packages.mjs";

const OpenAI = load("openai").default;
const [baseURL, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "none", timeout: 240_000, maxRetries: 0 });
const request = {
  model,
  temperature: 0,
  max_output_tokens: 24,
  instructions: "You continue number sequences.",
  input: "Continue: 2, 4, 6, 8, 10, 12,",
};

const plain = await client.responses.create(request);
assert(plain.output_text);
let text = "";
const names = [];
for await (const event of await client.responses.create({ ...request, stream: true })) {
  names.push(event.type);
  if (event.type === "response.output_text.delta") text += event.delta;
}
assert.equal(text, plain.output_text);
assert.equal(names[0], "response.created");
const final = await client.responses.stream(request).finalResponse();
assert.equal(final.output_text, text);
assert(final.usage.input_tokens_details.cached_tokens > 0);

const kept = await client.responses.retrieve(plain.id);
assert.equal(kept.output_text, text);
const next = await client.responses.create({ ...request, input: "And then?", previous_response_id: plain.id });
assert(next.usage.input_tokens > plain.usage.input_tokens);
await client.responses.delete(plain.id);
await assert.rejects(client.responses.retrieve(plain.id), OpenAI.NotFoundError);
const short = await client.responses.create({ ...request, truncation: "auto" });
assert.equal(short.output_text, text);
await assert.rejects(client.responses.create({ ...request, truncation: "none" }), (error) => error.param === "truncation");

console.log("all checks passed");
