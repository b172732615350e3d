// OpenAI's JavaScript SDK and Vercel's AI SDK against mlxd: openai_tools.mjs BASE_URL MODEL
import assert from "node:assert/strict";
import { load } from "./packages.mjs";

const { default: OpenAI } = load("openai");
const { generateText, streamText, generateObject, tool, jsonSchema, stepCountIs } = load("ai");
const { createOpenAICompatible } = load("@ai-sdk/openai-compatible");

const [baseURL, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
const messages = [{ role: "user", content: "What is the weather in Paris?" }];
const parameters = {
  type: "object", required: ["city"], additionalProperties: false,
  properties: { city: { type: "string", maxLength: 20 } },
};
const tools = [{ type: "function", function: { name: "get_weather", description: "The weather of a city.", parameters } }];
const settings = { model, messages, tools, tool_choice: "required", parallel_tool_calls: false, temperature: 0, max_tokens: 80 };

async function openai() {
  const plain = await client.chat.completions.create(settings);
  const [call] = plain.choices[0].message.tool_calls;
  assert.equal(plain.choices[0].finish_reason, "tool_calls");
  assert.ok(JSON.parse(call.function.arguments).city);
  const stream = client.chat.completions.stream({ ...settings, stream_options: { include_usage: true } });
  const whole = await stream.finalChatCompletion();
  assert.equal(whole.choices[0].message.tool_calls[0].function.arguments, call.function.arguments);
  assert.equal(whole.usage.completion_tokens, plain.usage.completion_tokens);
  // The helper calls the function and sends its result back.
  let asked = 0;
  const runner = client.chat.completions.runTools({
    model, messages, temperature: 0, max_tokens: 60,
    tools: [{ type: "function", function: { name: "get_weather", description: "The weather of a city.", parameters,
      parse: JSON.parse, function: ({ city }) => { asked += 1; return `sunny in ${city}`; } } }],
  }, { maxChatCompletions: 3 });
  // So small a model may talk on past its limit after that.
  await runner.done().catch((error) => { if (asked < 1) throw error; });
  assert.ok(asked >= 1, "the model called the function");
  await assert.rejects(client.chat.completions.create({ ...settings, tool_choice: { type: "custom", custom: { name: "x" } } }),
    (error) => error instanceof OpenAI.BadRequestError && error.param === "tool_choice");
}

async function vercel() {
  const provider = createOpenAICompatible({ name: "mlxd", baseURL, includeUsage: true, supportsStructuredOutputs: true });
  const weather = tool({
    description: "The weather of a city.", inputSchema: jsonSchema(parameters),
    execute: async ({ city }) => `It is sunny in ${city}.`,
  });
  const options = { model: provider(model), temperature: 0, maxOutputTokens: 60, maxRetries: 0 };
  const looped = await generateText({ ...options, tools: { get_weather: weather }, stopWhen: stepCountIs(2),
    prompt: "What is the weather in Paris?", toolChoice: "auto" });
  assert.equal(looped.steps[0].toolCalls[0].toolName, "get_weather");
  assert.equal(looped.steps.length, 2);
  assert.match(looped.steps[0].toolResults[0].output, /sunny/);
  const streamed = streamText({ ...options, tools: { get_weather: weather }, toolChoice: "required",
    prompt: "What is the weather in Paris?" });
  const kinds = [];
  for await (const part of streamed.fullStream) {
    assert.notEqual(part.type, "error", JSON.stringify(part));
    kinds.push(part.type);
  }
  assert.ok(kinds.includes("tool-input-delta") && kinds.includes("tool-result"), kinds.join());
  assert.ok((await streamed.usage).outputTokens > 0);
  const schema = jsonSchema({ type: "object", required: ["size"], additionalProperties: false,
    properties: { size: { enum: ["small", "big"] } } });
  const { object } = await generateObject({ ...options, schema, prompt: "How big is Paris?" });
  assert.ok(["small", "big"].includes(object.size));
}

await openai();
await vercel();
console.log("all checks passed");
