// A conversation as a tree: an edit or another answer begins a branch. Pure functions; the server keeps the whole as JSON.

import type { Picture, TextFile } from './attachments';

export interface Call {
  id: string;
  name: string;
  arguments: string;
}

export interface Statistics {
  prompt: number;
  cached: number;
  output: number;
  reasoning: number;
  /** Tokens a second. */
  rate: number | null;
  /** Milliseconds to the first token. */
  first: number | null;
}

export type TurnState = 'done' | 'running' | 'stopped' | 'failed';

export interface Turn {
  id: string;
  parent: string | null;
  role: 'user' | 'assistant';
  text: string;
  at: number;
  state: TurnState;
  /** Files of a question, that stand before its text. */
  files?: TextFile[];
  images?: Picture[];
  model?: string;
  reasoning?: string;
  /** Milliseconds that the model reasoned. */
  reasoned?: number;
  calls?: Call[];
  error?: string;
  /** Whether the answer met its limit of tokens. */
  cut?: boolean;
  statistics?: Statistics;
  /** While it runs: the request, with which it can be read again. */
  request?: AnswerRequest;
}

/** A request that the server goes on with when its page closes. */
export interface AnswerRequest {
  key: string;
  body: Record<string, unknown>;
  /** The text that the answer continues. */
  before: string;
}

/** Null and empty mean: as the model has it. */
export interface Parameters {
  temperature: number | null;
  top_p: number | null;
  top_k: number | null;
  min_p: number | null;
  max_tokens: number | null;
  seed: number | null;
  repetition_penalty: number | null;
  stop: string;
  reasoning_effort: string;
}

/** A model, and the last turn of the branch that is shown of it. */
export interface Lane {
  model: string;
  leaf: string | null;
}

export interface Conversation extends Lane {
  system: string;
  parameters: Parameters;
  turns: Turn[];
  /** A second model that is asked the same. */
  beside?: Lane;
}

export const NO_PARAMETERS: Parameters = {
  temperature: null,
  top_p: null,
  top_k: null,
  min_p: null,
  max_tokens: null,
  seed: null,
  repetition_penalty: null,
  stop: '',
  reasoning_effort: '',
};

export function emptyConversation(model: string): Conversation {
  return { model, system: '', parameters: { ...NO_PARAMETERS }, turns: [], leaf: null };
}

/** The turns from the first to `leaf`. */
export function branch(conversation: Conversation, leaf: string | null): Turn[] {
  const byId = new Map(conversation.turns.map((turn) => [turn.id, turn]));
  const path: Turn[] = [];
  for (let turn = leaf ? byId.get(leaf) : undefined; turn; turn = turn.parent ? byId.get(turn.parent) : undefined) {
    path.push(turn);
  }
  return path.reverse();
}

/** The branches of one or two models in rows. Where they agree a row has one turn, otherwise one of each. */
export function rows(paths: Turn[][]): (Turn | undefined)[][] {
  const [first = [], second] = paths;
  if (!second) return first.map((turn) => [turn]);
  return Array.from({ length: Math.max(first.length, second.length) }, (_, place) => {
    const [one, other] = [first[place], second[place]];
    return one && other && isSame(one, other) ? [one] : [one, other];
  });
}

/** Whether two turns are one, or ask the same. */
export function isSame(one: Turn, other: Turn): boolean {
  const content = (turn: Turn) => JSON.stringify([turn.text, turn.files, turn.images]);
  return one.id === other.id || (one.role === 'user' && other.role === 'user' && content(one) === content(other));
}

/** The turns below each turn, the oldest first. */
export function children(conversation: Conversation): Map<string | null, Turn[]> {
  const below = new Map<string | null, Turn[]>();
  for (const turn of conversation.turns) {
    const known = below.get(turn.parent);
    if (known) known.push(turn);
    else below.set(turn.parent, [turn]);
  }
  return below;
}

/** The newest leaf below a turn, by answers of `model` where there are any. */
export function newestLeaf(conversation: Conversation, id: string, model: string): string {
  const below = conversation.turns.filter((turn) => turn.parent === id);
  const child = below.findLast((turn) => turn.model === model) ?? below.at(-1);
  return child ? newestLeaf(conversation, child.id, model) : id;
}

/** The body of a chat completion in which `model` answers `leaf`, or continues it if it is an answer. */
export function requestBody(conversation: Conversation, { model, leaf }: Lane): Record<string, unknown> {
  const turns = branch(conversation, leaf);
  const body: Record<string, unknown> = {
    model,
    messages: messagesOf(conversation, turns),
    stream: true,
    stream_options: { include_usage: true },
  };
  for (const [name, value] of Object.entries(conversation.parameters)) {
    if (name !== 'stop' && value !== null && value !== '') body[name] = value;
  }
  const stop = conversation.parameters.stop.split('\n').filter((text) => text !== '');
  if (stop.length > 0) body.stop = stop;
  if (turns.at(-1)?.role === 'assistant') body.continue_final_message = true;
  return body;
}

function messagesOf(conversation: Conversation, turns: Turn[]): Record<string, unknown>[] {
  const messages: Record<string, unknown>[] = turns.map((turn) => ({ role: turn.role, content: contentOf(turn) }));
  if (conversation.system.trim()) messages.unshift({ role: 'system', content: conversation.system });
  return messages;
}

/** What a turn says to a model. */
function contentOf(turn: Turn): unknown {
  const text = textOf(turn);
  if (!turn.images?.length) return text;
  const images = turn.images.map(({ url }) => ({ type: 'image_url', image_url: { url } }));
  return text ? [{ type: 'text', text }, ...images] : images;
}

/** A turn's text after its files, each in a block of code with its name. */
export function textOf({ files = [], text }: Turn): string {
  const blocks = files.map((file) => {
    const fence = fenceOf(file.text);
    return `${file.name}\n${fence}\n${file.text.trimEnd()}\n${fence}`;
  });
  return [...blocks, ...(text ? [text] : [])].join('\n\n');
}

/** One backtick more than any row of them in the text. */
function fenceOf(text: string): string {
  const longest = (text.match(/`{3,}/g) ?? []).reduce((most, row) => Math.max(most, row.length), 2);
  return '`'.repeat(longest + 1);
}

/** Leaves the messages of running requests out of a conversation to store, where their branch has them: files would be there twice.
 * Their place stays: a request that is read again must be the same in every byte. */
export function pack(conversation: Conversation): Conversation {
  for (const { parent, request } of conversation.turns) {
    if (!request || request.before || !parent) continue;
    const messages = messagesOf(conversation, branch(conversation, parent));
    if (JSON.stringify(messages) === JSON.stringify(request.body.messages)) request.body.messages = null;
  }
  return conversation;
}

/** Undoes `pack`. */
export function unpack(conversation: Conversation): Conversation {
  for (const { parent, request } of conversation.turns) {
    if (request) request.body.messages ??= messagesOf(conversation, branch(conversation, parent));
  }
  return conversation;
}

/** A title from the first question. */
export function titleOf(text: string): string {
  const line = text.trim().split('\n')[0] ?? '';
  return line.length > 60 ? `${line.slice(0, 57).trimEnd()}…` : line;
}

/** What is shown, as Markdown. */
export function toMarkdown(title: string, conversation: Conversation, names: Record<Turn['role'], string>): string {
  const parts = [`# ${title}`];
  if (conversation.system.trim()) parts.push(`> ${conversation.system.trim().replaceAll('\n', '\n> ')}`);
  const { leaf, beside } = conversation;
  const paths = [leaf, ...(beside ? [beside.leaf] : [])].map((leaf) => branch(conversation, leaf));
  for (const turn of rows(paths).flat()) {
    if (!turn) continue;
    const model = turn.role === 'assistant' && turn.model ? ` (${turn.model})` : '';
    parts.push(`## ${names[turn.role]}${model}`, textOf(turn), ...(turn.images ?? []).map(({ name }) => `[${name}]`));
  }
  return `${parts.join('\n\n')}\n`;
}
