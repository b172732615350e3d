#!/usr/bin/env bash
# Guess: `{"error": {"message": …}}` inside a stream is raised with its message by each SDK that speaks chat completions.
# Reality: Mistral's and OpenRouter's SDKs check it against the schema of a chunk and raise a list of missing fields, Ax a TypeError; the
#   server's words are nowhere in the message. As OpenRouter writes it, with `error` beside an empty choice, these three raise nothing: a
#   caller who reads the text has half an answer for a whole one. Hugging Face's and OpenAI's raise the message in both forms.
# Versions: @mistralai/mistralai 2.7.0, @openrouter/sdk 1.3.19, @ax-llm/ax 24.0.21, @huggingface/inference 4.13.30, openai 7.59.0 (npm); a
#   stub server on this machine's loopback.
# For a server author: neither form is understood by all. Find out what can fail before the first chunk, and log the rest with an id.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-fund --no-audit @mistralai/mistralai@2.7.0 @openrouter/sdk@1.3.19 @ax-llm/ax@24.0.21 @huggingface/inference@4.13.30 openai@7.59.0 > /dev/null
npm ls --depth=0 | grep @
cat > t.mjs <<'JS'
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { ai } from "@ax-llm/ax";
import { InferenceClient } from "@huggingface/inference";
import { Mistral } from "@mistralai/mistralai";
import { OpenRouter } from "@openrouter/sdk";
import OpenAI from "openai";

const head = { id: "c", object: "chat.completion.chunk", created: 1, model: "m" };
const chunk = (delta, finish_reason) => ({ ...head, choices: [{ index: 0, delta, finish_reason }] });
const error = { message: "the worker is gone", type: "server_error", code: 500 };
const lasts = { bare: { error }, beside: { ...chunk({ content: "" }, "error"), error }, none: chunk({}, "stop") };
const server = createServer((request, response) => {
  request.resume().on("end", () => {
    response.setHeader("content-type", "text/event-stream");
    const last = lasts[request.url.split("/")[1]];
    const sent = [chunk({ role: "assistant", content: "half an" }, null), last].map((event) => `data: ${JSON.stringify(event)}\n\n`);
    response.end(sent.join("") + "data: [DONE]\n\n");
  });
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const messages = [{ role: "user", content: "x" }];
const text = async function* (stream, inner) { for await (const piece of stream) yield inner(piece)?.choices?.[0]?.delta?.content ?? ""; };
const clients = {
  "@mistralai/mistralai": async (url) => text(await new Mistral({ apiKey: "none", serverURL: url }).chat.stream({ model: "m", messages }), (piece) => piece.data),
  "@openrouter/sdk": async (url) => {
    const sdk = new OpenRouter({ apiKey: "none", serverURL: `${url}/v1` });
    return text(await sdk.chat.send({ chatRequest: { model: "m", messages, stream: true } }), (piece) => piece);
  },
  "@ax-llm/ax": async (url) => {
    const model = ai({ name: "openai", apiKey: "none", apiURL: `${url}/v1`, config: { model: "m", stream: true } });
    const stream = await model.chat({ model: "m", chatPrompt: messages }, { stream: true });
    return (async function* () { for await (const piece of stream) yield piece.results?.[0]?.content ?? ""; })();
  },
  "@huggingface/inference": async (url) => text(new InferenceClient("none", { endpointUrl: url }).chatCompletionStream({ model: "m", messages }), (piece) => piece),
  openai: async (url) => {
    const sdk = new OpenAI({ apiKey: "none", baseURL: `${url}/v1` });
    return text(await sdk.chat.completions.create({ model: "m", messages, stream: true }), (piece) => piece);
  },
};
const seen = {};
for (const [name, open] of Object.entries(clients)) {
  for (const form of Object.keys(lasts)) {
    let answer = "", raised = "nothing";
    try {
      for await (const piece of await open(`http://127.0.0.1:${server.address().port}/${form}`)) answer += piece;
    } catch (failure) {
      raised = failure.message.includes("the worker is gone") ? "its message" : `${failure.name}`;
    }
    (seen[name] ??= {})[form] = raised;
    console.log(`${name}, error ${form}: has ${JSON.stringify(answer)}, raises ${raised}`);
  }
}
const silent = { beside: "nothing", none: "nothing" };
const loud = { bare: "its message", beside: "its message", none: "nothing" };
assert.deepEqual(seen, {
  "@mistralai/mistralai": { bare: "ZodError", ...silent }, "@openrouter/sdk": { bare: "ZodError", ...silent },
  "@ax-llm/ax": { bare: "TypeError", ...silent }, "@huggingface/inference": loud, openai: loud,
});
process.exit();
JS
node t.mjs
