// OpenAI's and Anthropic's JavaScript SDKs to every kind of provider, which are fakes: matrix.mjs BASE_URL
import assert from "node:assert/strict";
import { load } from "./packages.mjs";

const { default: OpenAI } = load("openai");
const { default: Anthropic } = load("@anthropic-ai/sdk");

const [baseURL] = process.argv.slice(2);
const options = { apiKey: "none", maxRetries: 0, timeout: 30_000 };
const openai = new OpenAI({ baseURL: `${baseURL}/v1`, ...options });
const anthropic = new Anthropic({ baseURL, ...options });
const TEXT = "Grüße, 世界! 🎉 All is well.";
const parameters = { type: "object", properties: { city: { type: "string" } } };
const messages = [{ role: "user", content: "How is Zürich?" }];
const model = (provider, script) => `${provider}/${script}.beside.${provider}`;

// The text, the arguments of the calls, and all tokens of an answer, whole and streamed.
const clients = {
  async chat(model) {
    const tools = [{ type: "function", function: { name: "weather", parameters } }];
    const request = { model, messages, tools };
    const read = ({ choices: [{ message, finish_reason }], usage, model }) => ({
      text: message.content ?? "", calls: (message.tool_calls ?? []).map((call) => JSON.parse(call.function.arguments)),
      isCall: finish_reason === "tool_calls", tokens: [usage.prompt_tokens, usage.completion_tokens], model });
    const stream = openai.chat.completions.stream({ ...request, stream_options: { include_usage: true } });
    return [read(await openai.chat.completions.create(request)), read(await stream.finalChatCompletion())];
  },
  async responses(model) {
    const tools = [{ type: "function", name: "weather", parameters, strict: false }];
    const request = { model, input: "How is Zürich?", tools };
    const read = ({ output, output_text, usage, model }) => {
      const calls = output.filter((item) => item.type === "function_call").map((item) => JSON.parse(item.arguments));
      return { text: output_text, calls, isCall: calls.length > 0, tokens: [usage.input_tokens, usage.output_tokens], model };
    };
    return [read(await openai.responses.create(request)), read(await openai.responses.stream(request).finalResponse())];
  },
  async messages(model) {
    const tools = [{ name: "weather", input_schema: parameters }];
    const request = { model, messages, tools, max_tokens: 64 };
    const read = ({ content, stop_reason, usage, model }) => ({
      text: content.filter((block) => block.type === "text").map((block) => block.text).join(""),
      calls: content.filter((block) => block.type === "tool_use").map((block) => block.input), isCall: stop_reason === "tool_use",
      tokens: [usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens, usage.output_tokens], model });
    return [read(await anthropic.messages.create(request)), read(await anthropic.messages.stream(request).finalMessage())];
  },
};

for (const provider of ["op", "co", "an"]) {
  for (const [name, ask] of Object.entries(clients)) {
    for (const script of ["text", "call"]) {
      const asked = model(provider, script);
      const isCall = script === "call";
      const expected = { text: isCall ? "" : TEXT, calls: isCall ? [{ city: "Oslo" }] : [], isCall, tokens: [20, 9], model: asked };
      for (const answer of await ask(asked)) assert.deepEqual(answer, expected, `${name} to ${asked}`);
    }
  }
  const refused = openai.chat.completions.create({ model: `${provider}/nowhere`, messages });
  await assert.rejects(refused, OpenAI.NotFoundError);
}
console.log("all checks passed");
