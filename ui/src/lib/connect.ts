// The set-up of clients with this server's address. clients.json has the agents, for docs/src/clients.md and `mlxd launch` too.

import table from './clients.json';

export interface Step {
  /** The file that the text belongs to; a command without one. */
  file?: string;
  text: string;
}

export interface Client {
  name: string;
  steps: Step[];
}

export interface Server {
  /** The address without `/v1`. */
  base: string;
  model: string;
  key: string;
  context: number;
}

/** An agent's set-up in clients.json, as far as a user who sets it up by hand needs it. */
interface Agent {
  name: string;
  program: string;
  arguments?: string[];
  variables?: Record<string, string>;
  /** Variables that are there only with a key. */
  keyed_variables?: Record<string, string>;
  files?: Template[];
}

interface Template {
  place: string;
  json?: unknown;
  /** Lines, some of which are there only with a key. */
  toml?: (string | { keyed: string })[];
  /** The answer to a request for this path. */
  fetched?: string;
}

type Values = Record<string, string | number>;

/** The key where the server asks for none. */
const NO_KEY = 'none';
const MAX_OUTPUT = 32_000;

export function clients(server: Server): Client[] {
  const agents = (table as unknown as Agent[]).map((agent) => setup(agent, server));
  return [...agents, openAi(server), anthropic(server), curl(server)];
}

function setup(agent: Agent, server: Server): Client {
  const { base, model, key, context } = server;
  const output = Math.min(Math.floor(context / 4), MAX_OUTPUT);
  const values = { base, model, key, context, output, prompt: context - output };
  const keyed = key === NO_KEY ? {} : agent.keyed_variables;
  const variables = Object.entries({ ...agent.variables, ...keyed });
  const lines = variables.map(([name, text]) => `export ${name}=${quoted(fill(text, values))}`);
  const steps = (agent.files ?? []).map((template) => file(template, values, server));
  if (lines.length > 0) {
    lines.push([agent.program, ...(agent.arguments ?? [])].join(' '));
    steps.push({ text: lines.join('\n') });
  }
  return { name: agent.name, steps };
}

function file({ place, json, toml, fetched }: Template, values: Values, { base, key }: Server): Step {
  if (fetched !== undefined) {
    const header = key === NO_KEY ? '' : ` -H 'authorization: Bearer ${key}'`;
    return { text: `curl -o ${place}${header} '${base}${fetched}'` };
  }
  if (toml === undefined) return { file: place, text: JSON.stringify(fillAll(json, values), null, 2) };
  const chosen = toml.filter((line) => typeof line === 'string' || key !== NO_KEY);
  const escaped = (value: string | number) => JSON.stringify(String(value)).slice(1, -1);
  const text = chosen.map((line) => fill(typeof line === 'string' ? line : line.keyed, values, escaped));
  return { file: place, text: text.join('\n') };
}

/** A text with its values. They are not searched for further names. */
function fill(text: string, values: Values, written: (value: string | number) => string = String): string {
  return text.replace(/\{(\w+)\}/g, (name: string, inner: string) => {
    const value = values[inner];
    return value === undefined ? name : written(value);
  });
}

/** A document with its values. A text that is nothing but a number's name becomes the number. */
function fillAll(value: unknown, values: Values): unknown {
  if (typeof value === 'string') {
    const number = values[value.slice(1, -1)];
    return typeof number === 'number' && /^\{\w+\}$/.test(value) ? number : fill(value, values);
  }
  if (Array.isArray(value)) return value.map((item) => fillAll(item, values));
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [fill(name, values), fillAll(item, values)]),
  );
}

/** A word for a shell. */
function quoted(word: string): string {
  return /^[\w./:=,@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

function openAi({ base, model, key }: Server): Client {
  const python = `from openai import OpenAI
client = OpenAI(base_url="${base}/v1", api_key="${key}")
answer = client.chat.completions.create(
    model="${model}", messages=[{"role": "user", "content": "Hello!"}])
print(answer.choices[0].message.content)`;
  const script = `import OpenAI from "openai";
const client = new OpenAI({ baseURL: "${base}/v1", apiKey: "${key}" });
const answer = await client.chat.completions.create({
  model: "${model}", messages: [{ role: "user", content: "Hello!" }] });
console.log(answer.choices[0].message.content);`;
  const steps = [
    { file: 'Python', text: python },
    { file: 'JavaScript', text: script },
  ];
  return { name: 'OpenAI SDK', steps };
}

function anthropic({ base, model, key }: Server): Client {
  const text = `from anthropic import Anthropic
client = Anthropic(base_url="${base}", api_key="${key}")
answer = client.messages.create(model="${model}", max_tokens=1000,
    messages=[{"role": "user", "content": "Hello!"}])
print(answer.content[0].text)`;
  return { name: 'Anthropic SDK', steps: [{ file: 'Python', text }] };
}

function curl({ base, model, key }: Server): Client {
  const header = key === 'none' ? '' : ` \\\n  -H 'authorization: Bearer ${key}'`;
  const text = `curl ${base}/v1/chat/completions -H 'content-type: application/json'${header} \\
  -d '{"model": "${model}", "messages": [{"role": "user", "content": "Hello!"}]}'`;
  return { name: 'curl', steps: [{ text }] };
}
