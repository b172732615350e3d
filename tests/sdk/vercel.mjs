// Vercel's AI SDK with OpenAI's and Anthropic's own providers against mlxd: vercel.mjs BASE_URL MODEL EMBEDDING_MODEL
import assert from "node:assert/strict";
import { load } from "./packages.mjs";

const { generateText, streamText, generateObject, streamObject, embed, embedMany, cosineSimilarity, tool, stepCountIs } = load("ai");
const { createOpenAI } = load("@ai-sdk/openai");
const { createAnthropic } = load("@ai-sdk/anthropic");
const { createOpenAICompatible } = load("@ai-sdk/openai-compatible");
const { z } = load("zod");

const [baseURL, model, embedding] = process.argv.slice(2);
const openai = createOpenAI({ baseURL, apiKey: "none" });
const anthropic = createAnthropic({ baseURL, apiKey: "none" });
const compatible = createOpenAICompatible({ name: "mlxd", baseURL, supportsStructuredOutputs: true });
const prompt = "What is the weather in Paris?";
const schema = z.object({ country: z.enum(["France", "Spain"]), size: z.enum(["small", "big"]) });
const weather = tool({ description: "The weather of a city.", inputSchema: z.object({ city: z.string().max(20) }),
  execute: async ({ city }) => `It is sunny in ${city}.` });

async function all(name, language) {
  const options = { model: language, temperature: 0, maxOutputTokens: 80, maxRetries: 0 };
  const text = await generateText({ ...options, prompt: "Say hello.", maxOutputTokens: 12 });
  assert.ok(text.text && text.usage.outputTokens > 0, name);
  const looped = await generateText({ ...options, prompt, tools: { get_weather: weather }, stopWhen: stepCountIs(2) });
  assert.equal(looped.steps.length, 2, name);
  assert.equal(looped.steps[0].finishReason, "tool-calls", name);
  assert.match(looped.steps[0].toolResults[0].output, /sunny in/, name);
  const streamed = streamText({ ...options, prompt, tools: { get_weather: weather }, stopWhen: stepCountIs(2), onError: () => {} });
  const kinds = new Set();
  for await (const part of streamed.fullStream) {
    assert.notEqual(part.type, "error", `${name}: ${part.error}`);
    kinds.add(part.type);
  }
  assert.ok(kinds.has("tool-input-delta") && kinds.has("tool-result") && (await streamed.steps).length === 2, `${name}: ${[...kinds]}`);
  assert.equal(await streamed.text, looped.text, name);
  const { object } = await generateObject({ ...options, schema, prompt: "Describe Paris." });
  assert.deepEqual(schema.parse(object), object, name);
  const objects = streamObject({ ...options, schema, prompt: "Describe Paris.", onError: () => {} });
  let last;
  for await (const partial of objects.partialObjectStream) last = partial;
  assert.deepEqual(last, object, name);
  assert.deepEqual(await objects.object, object, name);
}

async function embeddings() {
  for (const provider of [openai, compatible]) {
    const reader = provider.textEmbeddingModel(embedding);
    const one = await embed({ model: reader, value: "A cat sits on the mat.", maxRetries: 0 });
    const { embeddings: two } = await embedMany({ model: reader, values: ["A kitten rests on a rug.", "Rates rose by half."], maxRetries: 0 });
    assert.ok(cosineSimilarity(one.embedding, two[0]) > 0.4 && cosineSimilarity(one.embedding, two[1]) < 0.3);
  }
}

await all("openai responses", openai.responses(model));
await all("openai chat", openai.chat(model));
await all("anthropic", anthropic(model));
await all("compatible", compatible(model));
await embeddings();
console.log("all checks passed");
