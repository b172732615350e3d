// The set-up of clients, as docs/src/clients.md has it, with this server's address.

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

export function clients(server: Server): Client[] {
  return [claudeCode(server), codex(server), openCode(server), openAi(server), anthropic(server), curl(server)];
}

function claudeCode({ base, model, key, context }: Server): Client {
  const text = `export ANTHROPIC_BASE_URL=${base}
export ANTHROPIC_AUTH_TOKEN=${key}
export ANTHROPIC_DEFAULT_HAIKU_MODEL=${model}
export CLAUDE_CODE_MAX_CONTEXT_TOKENS=${context}
claude --model ${model}`;
  return { name: 'Claude Code', steps: [{ text }] };
}

function codex({ base, model, key }: Server): Client {
  const withKey = key === 'none' ? '' : '\nenv_key = "MLXD_API_KEY"';
  const settings = `model = "${model}"
model_provider = "mlxd"
model_catalog_json = "mlxd.json"

[model_providers.mlxd]
name = "mlxd"
base_url = "${base}/v1"
wire_api = "responses"${withKey}`;
  const header = key === 'none' ? '' : ` -H 'authorization: Bearer ${key}'`;
  const catalogue = `curl -o ~/.codex/mlxd.json${header} '${base}/v1/models?client_version=0.171.0'`;
  const steps: Step[] = [{ file: '~/.codex/config.toml', text: settings }, { text: catalogue }];
  if (key !== 'none') steps.push({ text: `export MLXD_API_KEY=${key}` });
  return { name: 'Codex', steps };
}

function openCode({ base, model, key, context }: Server): Client {
  const limit = { context, output: Math.min(4096, Math.floor(context / 2)) };
  const settings = {
    $schema: 'https://opencode.ai/config.json',
    model: `mlxd/${model}`,
    provider: {
      mlxd: {
        npm: '@ai-sdk/openai-compatible',
        name: 'mlxd',
        options: { baseURL: `${base}/v1`, apiKey: key },
        models: { [model]: { name: model, limit } },
      },
    },
  };
  const text = JSON.stringify(settings, null, 2);
  return { name: 'OpenCode', steps: [{ file: '~/.config/opencode/opencode.json', text }] };
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
