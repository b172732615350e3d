// Tools and structured output by OpenAI's JavaScript SDK, Responses, against mlxd: responses_tools.mjs BASE_URL MODEL
import assert from "node:assert/strict";
import { load } from "./packages.mjs";

const OpenAI = load("openai").default;
const { zodTextFormat, zodResponsesFunction } = load("openai/helpers/zod");
const { z } = load("zod");

const [baseURL, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "none", timeout: 240_000, maxRetries: 0 });
const question = { role: "user", content: "What is the weather in Paris?" };
const tools = [{ type: "function", name: "get_weather", description: "The weather of a city.", strict: false, parameters: {
  type: "object", required: ["city"], additionalProperties: false, properties: { city: { type: "string", maxLength: 20 } } } }];
const settings = { model, temperature: 0, max_output_tokens: 80, tools };

async function loops() {
  const first = await client.responses.create({ ...settings, input: [question] });
  const call = first.output.find((item) => item.type === "function_call");
  assert.match(JSON.parse(call.arguments).city, /paris/i);
  let pieces = "";
  const stream = client.responses.stream({ ...settings, input: [question] });
  for await (const event of stream) if (event.type === "response.function_call_arguments.delta") pieces += event.delta;
  assert.equal(pieces, call.arguments);
  const output = { type: "function_call_output", call_id: call.call_id, output: "It is sunny." };
  const kept = await client.responses.create({ ...settings, input: [output], previous_response_id: first.id });
  const sent = await client.responses.create({ ...settings, input: [question, ...first.output, output], store: false });
  assert.equal(kept.output_text, sent.output_text);
  const again = await client.responses.stream({ ...settings, input: [question, ...first.output, output] }).finalResponse();
  assert.equal(again.output_text, sent.output_text);
  assert.ok(sent.output.length > 0);
}

async function models() {
  const weather = zodResponsesFunction({ name: "get_weather", parameters: z.object({ city: z.enum(["Paris", "London"]) }) });
  const called = await client.responses.parse({ ...settings, tools: [weather], input: [question], tool_choice: "required", parallel_tool_calls: false });
  assert.ok(["Paris", "London"].includes(called.output[0].parsed_arguments.city));
  const format = zodTextFormat(z.object({ country: z.enum(["France", "Spain"]), size: z.enum(["small", "big"]) }), "city");
  const request = { model, temperature: 0, max_output_tokens: 60, input: "Describe Paris.", text: { format } };
  const { output_parsed } = await client.responses.parse(request);
  assert.ok(["France", "Spain"].includes(output_parsed.country));
  assert.deepEqual((await client.responses.stream(request).finalResponse()).output_parsed, output_parsed);
}

await loops();
await models();
console.log("all checks passed");
