// OpenAI's JavaScript SDK against mlxd: openai_chat.mjs BASE_URL MODEL EMBEDDING_MODEL
import assert from "node:assert/strict";
import { load } from "./packages.mjs";

const OpenAI = load("openai").default;
const { zodResponseFormat } = load("openai/helpers/zod");
const { z } = load("zod");

const [baseURL, model, embedding] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "none", timeout: 240_000, maxRetries: 0 });
const messages = [{ role: "system", content: "You continue number sequences." }, { role: "user", content: "Continue: 2, 4, 6, 8," }];
const settings = { model, messages, temperature: 0, max_tokens: 16 };

async function chats() {
  const plain = await client.chat.completions.create({ ...settings, logprobs: true, top_logprobs: 2 });
  const [choice] = plain.choices;
  assert.equal(choice.logprobs.content.map((entry) => entry.token).join(""), choice.message.content);
  assert.ok(choice.logprobs.content.every((entry) => entry.logprob <= 0 && entry.top_logprobs.length === 2));
  const whole = await client.chat.completions.stream({ ...settings, logprobs: true, stream_options: { include_usage: true } }).finalChatCompletion();
  assert.equal(whole.choices[0].message.content, choice.message.content);
  assert.equal(whole.choices[0].logprobs.content.length, choice.logprobs.content.length);
  assert.equal(whole.usage.total_tokens, plain.usage.total_tokens);
  const drawn = await client.chat.completions.create({ ...settings, temperature: 0.8, seed: 40, n: 3 });
  assert.deepEqual(drawn.choices.map((one) => one.index), [0, 1, 2]);
  const single = await client.chat.completions.create({ ...settings, temperature: 0.8, seed: 42 });
  assert.equal(drawn.choices[2].message.content, single.choices[0].message.content);
}

async function completions() {
  const request = { model, prompt: ["2, 4, 6, 8,", "A B C D"], temperature: 0, max_tokens: 6, n: 2, logprobs: 1, echo: true };
  const plain = await client.completions.create(request);
  assert.equal(plain.choices.length, 4);
  assert.ok(plain.choices[0].text.startsWith("2, 4, 6, 8, 10"));
  assert.equal(plain.choices[0].logprobs.tokens.join(""), plain.choices[0].text);
  const texts = ["", "", "", ""];
  for await (const chunk of await client.completions.create({ ...request, stream: true }))
    for (const choice of chunk.choices) texts[choice.index] += choice.text;
  assert.deepEqual(texts, plain.choices.map((choice) => choice.text));
}

async function structured() {
  const City = z.object({ country: z.enum(["France", "Spain"]), size: z.enum(["small", "big"]) });
  const request = { model, temperature: 1, seed: 5, max_tokens: 60, messages: [{ role: "user", content: "Describe Paris." }],
    response_format: zodResponseFormat(City, "city") };
  const { parsed } = (await client.chat.completions.parse(request)).choices[0].message;
  assert.deepEqual(City.parse(parsed), parsed);
  const streamed = await client.chat.completions.stream(request).finalChatCompletion();
  assert.deepEqual(streamed.choices[0].message.parsed, parsed);
}

async function embeddings() {
  const input = ["A cat sits on the mat.", "A kitten rests on a rug.", "Interest rates rose by half a percent."];
  const coded = await client.embeddings.create({ model: embedding, input });
  const plain = await client.embeddings.create({ model: embedding, input, encoding_format: "float" });
  const dot = (a, b) => a.reduce((sum, x, at) => sum + x * b[at], 0);
  const vectors = plain.data.map((one) => one.embedding);
  coded.data.forEach((one, at) => assert.ok(one.embedding.length === 384 && dot(one.embedding, vectors[at]) > 0.99999));
  assert.ok(dot(vectors[0], vectors[1]) > 0.4 && dot(vectors[0], vectors[2]) < 0.2);
  await assert.rejects(client.embeddings.create({ model: embedding, input, dimensions: 100 }), (error) => error.param === "dimensions");
}

await chats();
await completions();
await structured();
await embeddings();
console.log("all checks passed");
