#!/usr/bin/env bash
# Guess: Genkit's plugin for OpenAI-compatible servers sends what Genkit knows: a tool's description, `maxOutputTokens`, an output's schema.
# Reality: no tool has its description, only those of the parameters are there; `maxOutputTokens` and `topK` are dropped, so an answer has no limit (`max_tokens`
#   passes); an output's schema is text in the system prompt, put behind its last word without a space, and there is no `response_format`. Genkit's plugin for
#   Ollama sends description, limit and `top_k`, but the schema the same way, and counts characters instead of tokens.
# Versions: genkit, @genkit-ai/compat-oai and genkitx-ollama 1.42.0 (npm); a stub server on this machine's loopback.
# For a server author: a model that calls the wrong tool, or answers to the end of the context, may have seen nothing else. Read the requests first.
# Grounds: far
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-fund --no-audit genkit@1.42.0 @genkit-ai/compat-oai@1.42.0 genkitx-ollama@1.42.0 > /dev/null
npm ls --depth=0 | grep genkit
cat > t.mjs <<'JS'
import assert from 'node:assert';
import { createServer } from 'node:http';
import { genkit, z } from 'genkit';
import { openAICompatible } from '@genkit-ai/compat-oai';
import { ollama } from 'genkitx-ollama';

const asked = [];
const server = createServer(async (request, response) => {
  let body = '';
  for await (const piece of request) body += piece;
  asked.push({ path: request.url, ...JSON.parse(body) });
  const message = { role: 'assistant', content: '{"name": "Anna"}' };
  const answer = request.url === '/api/chat'
    ? { model: 'm', created_at: '2026-11-30T12:00:00Z', message, done: true, done_reason: 'stop', prompt_eval_count: 70, eval_count: 9 }
    : { id: 'c', object: 'chat.completion', created: 1, model: 'm', choices: [{ index: 0, message, finish_reason: 'stop' }],
      usage: { prompt_tokens: 70, completion_tokens: 9, total_tokens: 79 } };
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
});
await new Promise(done => server.listen(0, '127.0.0.1', done));
const root = `http://127.0.0.1:${server.address().port}`;
const ai = genkit({ plugins: [
  openAICompatible({ name: 'local', apiKey: 'none', baseURL: `${root}/v1` }),
  ollama({ serverAddress: root, models: [{ name: 'm', type: 'chat', supports: { tools: true } }] }),
] });
const weather = ai.defineTool({ name: 'weather', description: 'Tells the weather. Never ask it for the past.',
  inputSchema: z.object({ city: z.string().describe('The city.') }), outputSchema: z.string() }, async () => 'sunny');
const ask = async (model, more) => {
  asked.length = 0;
  const answer = await ai.generate({ model, prompt: 'Hi', ...more });
  return [asked[0], answer];
};
const limits = { config: { temperature: 0.1, topK: 5, maxOutputTokens: 10 } };

let [body] = await ask('local/m', { tools: [weather], ...limits });
console.log('compat-oai:', JSON.stringify(body));
assert.equal(body.path, '/v1/chat/completions');
assert.equal(body.tools[0].function.name, 'weather');
assert.equal(body.tools[0].function.description, undefined);
assert.equal(body.tools[0].function.parameters.properties.city.description, 'The city.');
assert.equal(body.temperature, 0.1);
assert(!/max|top_k|topK/.test(Object.keys(body).join(' ')));
[body] = await ask('local/m', { config: { max_tokens: 10 } });
assert.equal(body.max_tokens, 10);

[body] = await ask('ollama/m', { tools: [weather], ...limits });
console.log('ollama:', JSON.stringify(body));
assert.equal(body.tools[0].function.description, 'Tells the weather. Never ask it for the past.');
assert.deepEqual([body.options.num_predict, body.options.top_k], [10, 5]);

for (const model of ['local/m', 'ollama/m']) {
  const [sent, answer] = await ask(model, { system: 'Answer in German', output: { schema: z.object({ name: z.string() }) } });
  const system = sent.messages[0].content;
  console.log(`${model}, schema:`, JSON.stringify(system), '| counts:', JSON.stringify(answer.usage));
  assert(system.startsWith('Answer in GermanOutput should be in JSON format') && system.includes('"name":{"type":"string"}'));
  assert(!sent.response_format && !sent.format);
  assert.deepEqual(answer.output, { name: 'Anna' });
  assert.equal(answer.usage.inputTokens, model === 'local/m' ? 70 : undefined);
  assert.equal(answer.usage.inputCharacters > 0, model === 'ollama/m');
}
server.close();
process.exit(0);
JS
node t.mjs
