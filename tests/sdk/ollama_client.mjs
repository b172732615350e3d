// The official Ollama SDK for JavaScript against mlxd: ollama_client.mjs BASE_URL CALLER EMBEDDING_MODEL
import assert from "node:assert/strict";
import { load } from "./packages.mjs";

const { Ollama } = load("ollama");
const [host, model, embedder] = process.argv.slice(2);
const client = new Ollama({ host });
const options = { temperature: 0, num_predict: 80 };
const short = { ...options, num_predict: 24 };
const messages = [{ role: "user", content: "What is the weather in Paris?" }];
const tools = [{ type: "function", function: {
  name: "get_weather", description: "The weather of a city.",
  parameters: { type: "object", required: ["city"], properties: { city: { type: "string" } } } } }];

const listed = await client.list();
assert(listed.models.some((one) => one.name === model));
assert((await client.show({ model })).capabilities.includes("tools"));

const plain = await client.chat({ model, messages, options: short });
let text = "";
let last;
for await (const piece of await client.chat({ model, messages, options: short, stream: true })) {
  text += piece.message.content;
  last = piece;
}
assert.equal(text, plain.message.content);
assert.equal(last.done, true);
assert.equal(last.eval_count, plain.eval_count);

const called = await client.chat({ model, messages, tools, options });
assert.equal(called.message.tool_calls[0].function.name, "get_weather");
assert.match(called.message.tool_calls[0].function.arguments.city, /paris/i);

const schema = { type: "object", properties: { name: { type: "string", maxLength: 9 } }, required: ["name"],
  additionalProperties: false };
const structured = await client.generate({ model, prompt: "Name a city as JSON.", format: schema, options });
assert.equal(typeof JSON.parse(structured.response).name, "string");

const running = await client.ps();
assert(running.models.some((one) => one.name === model && one.size > 0));
const embedded = await client.embed({ model: embedder, input: ["a", "b"] });
assert.deepEqual(embedded.embeddings.map((vector) => vector.length), [384, 384]);

await assert.rejects(client.chat({ model: "nothing", messages }), (error) => {
  assert.equal(error.status_code, 404);
  assert.match(error.message, /nothing/);
  return true;
});
await assert.rejects(client.pull({ model: "llama3" }), /ORGANISATION\/NAME/);

console.log("all checks passed");
