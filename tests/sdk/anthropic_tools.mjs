// Tools and structured output by Anthropic's JavaScript SDK against mlxd: anthropic_tools.mjs BASE_URL MODEL
import assert from "node:assert/strict";
import { load } from "./packages.mjs";

const Anthropic = load("@anthropic-ai/sdk").default;
const { zodOutputFormat } = load("@anthropic-ai/sdk/helpers/zod");
const { betaZodTool } = load("@anthropic-ai/sdk/helpers/beta/zod");
const { z } = load("zod");

const [baseURL, model] = process.argv.slice(2);
const client = new Anthropic({ baseURL, apiKey: "none", timeout: 240_000, maxRetries: 0 });
const question = { role: "user", content: "What is the weather in Paris?" };
const tools = [{ name: "get_weather", description: "The weather of a city.", input_schema: {
  type: "object", required: ["city"], additionalProperties: false, properties: { city: { type: "string", maxLength: 20 } } } }];
const settings = { model, max_tokens: 80, temperature: 0, messages: [question], tools };

async function loops() {
  const message = await client.messages.create(settings);
  assert.equal(message.stop_reason, "tool_use");
  const call = message.content.find((block) => block.type === "tool_use");
  assert.match(call.input.city, /paris/i);
  const pieces = [];
  const stream = client.messages.stream(settings).on("inputJson", (piece) => pieces.push(piece));
  const streamed = (await stream.finalMessage()).content.find((block) => block.type === "tool_use");
  assert.deepEqual(streamed.input, call.input);
  assert.deepEqual(JSON.parse(pieces.join("")), call.input);
  const result = { type: "tool_result", tool_use_id: call.id, content: [{ type: "text", text: "It is sunny." }] };
  const messages = [question, { role: "assistant", content: message.content }, { role: "user", content: [result] }];
  const final = await client.messages.create({ ...settings, messages });
  const again = await client.messages.stream({ ...settings, messages }).finalMessage();
  assert.ok(final.content.length > 0);
  assert.deepEqual(again.content.map((block) => block.text), final.content.map((block) => block.text));
}

async function runner() {
  const asked = [];
  const weather = betaZodTool({ name: "get_weather", description: "The weather of a city.", inputSchema: z.object({ city: z.string() }),
    run: ({ city }) => { asked.push(city); return `It is sunny in ${city}.`; } });
  const steps = client.beta.messages.toolRunner({ model, max_tokens: 60, max_iterations: 2, temperature: 0, messages: [question], tools: [weather] });
  let count = 0;
  for await (const message of steps) { count += 1; assert.ok(message.content.length > 0); }
  assert.equal(count, 2);
  assert.match(asked[0], /paris/i);
}

async function structured() {
  const format = zodOutputFormat(z.object({ country: z.enum(["France", "Spain"]), size: z.enum(["small", "big"]) }));
  const request = { model, max_tokens: 60, temperature: 0, messages: [{ role: "user", content: "Describe Paris." }], output_config: { format } };
  const { parsed_output } = await client.messages.parse(request);
  assert.ok(["France", "Spain"].includes(parsed_output.country));
  const streamed = await client.messages.stream(request).finalMessage();
  assert.deepEqual(streamed.parsed_output, parsed_output);
}

await loops();
await runner();
await structured();
console.log("all checks passed");
