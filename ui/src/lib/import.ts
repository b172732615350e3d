// Conversations of ChatGPT's and Open WebUI's exports, and of this page's own. Pure functions; loaded when a file is chosen.

import type { Picture, TextFile } from './attachments';
import { emptyConversation, NO_PARAMETERS, type Conversation, type Lane, type Turn } from './conversation';

export interface Imported {
  /** The same one of every import, so that a second import adds nothing. */
  id: string;
  title: string;
  pinned: boolean;
  /** Seconds since the epoch. */
  at: number;
  body: Conversation;
}

/** A message of any export. */
interface Node {
  id: string;
  parent: string | null;
  role: string;
  text: string;
  at: number;
  model?: string | undefined;
}

type Json = Record<string, unknown>;
const isJson = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value);
const text = (value: unknown): string => (typeof value === 'string' ? value : '');
const number = (value: unknown): number => (typeof value === 'number' ? value : 0);

/** The conversations of a file, the oldest first. Throws if it is none that is known. */
export function conversations(source: string): Imported[] {
  const file: unknown = JSON.parse(source);
  const list = Array.isArray(file) ? file : [file];
  const found = list.filter(isJson).map((one) => ofChatGpt(one) ?? ofOpenWebUi(one) ?? ofThisPage(one));
  const known = found.filter((one): one is Imported => one !== null && one.body.turns.length > 0);
  if (known.length === 0) throw new Error('no conversation of a known form is in this file');
  return known.sort((a, b) => a.at - b.at);
}

/** An id that the server takes. */
const plain = (kind: string, id: string): string => `${kind}-${id.replace(/[^\w-]/g, '')}`.slice(0, 64);

function ofChatGpt(chat: Json): Imported | null {
  if (!isJson(chat.mapping)) return null;
  const nodes = Object.entries(chat.mapping).map(([id, node]): Node => {
    const { message, parent } = isJson(node) ? node : {};
    const { author, content, create_time, metadata } = isJson(message) ? message : {};
    const parts = isJson(content) && Array.isArray(content.parts) ? content.parts : [];
    return {
      id,
      parent: text(parent) || null,
      role: isJson(author) ? text(author.role) : '',
      // Pictures and files are objects.
      text: parts.filter((part) => typeof part === 'string').join('\n'),
      at: number(create_time),
      model: isJson(metadata) ? text(metadata.model_slug) : undefined,
    };
  });
  const id = plain('chatgpt', text(chat.conversation_id) || text(chat.id) || String(number(chat.create_time)));
  const at = number(chat.update_time) || number(chat.create_time);
  return { id, title: titleOf(chat.title), pinned: false, at, body: tree(nodes, text(chat.current_node)) };
}

function ofOpenWebUi(entry: Json): Imported | null {
  const chat = isJson(entry.chat) ? entry.chat : entry;
  if (!isJson(chat.history) || !isJson(chat.history.messages)) return null;
  const nodes = Object.entries(chat.history.messages).map(([id, node]): Node => {
    const { parentId, role, content, timestamp, model } = isJson(node) ? node : {};
    return { id, parent: text(parentId) || null, role: text(role), text: text(content), at: number(timestamp), model: text(model) };
  });
  const body = tree(nodes, text(chat.history.currentId));
  if (isJson(chat.params)) body.system = text(chat.params.system);
  const id = plain('openwebui', text(entry.id) || text(chat.id) || String(number(entry.created_at)));
  const at = number(entry.updated_at) || number(entry.created_at);
  return { id, title: titleOf(entry.title ?? chat.title), pinned: entry.pinned === true, at, body };
}

function ofThisPage(chat: Json): Imported | null {
  if (!Array.isArray(chat.turns) || !chat.turns.every((turn) => isJson(turn) && text(turn.id) !== '')) return null;
  const turns = chat.turns as Turn[];
  const parameters = { ...NO_PARAMETERS, ...(isJson(chat.parameters) ? chat.parameters : {}) };
  const beside = isJson(chat.beside) ? { beside: laneOf(chat.beside) } : {};
  const body = { ...laneOf(chat), system: text(chat.system), parameters, ...beside };
  // What was being written when it was exported is no longer.
  const ended = turns.map(({ request: _, files, images, ...turn }) => ({
    ...turn,
    ...filesOf(files, images),
    state: turn.state === 'running' ? 'stopped' : turn.state,
  }));
  const at = (turns.at(-1)?.at ?? 0) / 1000;
  return { id: plain('mlxd', turns[0]?.id ?? ''), title: titleOf(chat.title), pinned: false, at, body: { ...body, turns: ended as Turn[] } };
}

const laneOf = ({ model, leaf }: Json): Lane => ({ model: text(model), leaf: text(leaf) || null });

/** The files of a turn. An image that is not in the file itself would be a request to another host. */
function filesOf(files: unknown, images: unknown): { files?: TextFile[]; images?: Picture[] } {
  const list = (value: unknown) => (Array.isArray(value) ? value.filter(isJson) : []);
  const texts = list(files).map((file) => ({ name: text(file.name), text: text(file.text) }));
  const pictures = list(images).map((image) => ({ name: text(image.name), url: text(image.url) }));
  const own = pictures.filter(({ url }) => url.startsWith('data:image/'));
  return { ...(texts.length > 0 && { files: texts }), ...(own.length > 0 && { images: own }) };
}

const titleOf = (title: unknown): string => text(title).trim().slice(0, 200) || '…';

/** The questions and answers among the messages. Each goes below the next one above it. */
function tree(nodes: Node[], current: string): Conversation {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const isTurn = ({ role, text }: Node) => (role === 'user' || role === 'assistant') && text.trim() !== '';
  const nearest = (id: string | null): string | null => {
    let node = id ? byId.get(id) : undefined;
    for (let steps = 0; node && !isTurn(node) && steps < nodes.length; steps += 1) {
      node = node.parent ? byId.get(node.parent) : undefined;
    }
    return node && isTurn(node) ? node.id : null;
  };
  const turns = nodes.filter(isTurn).map(({ id, parent, role, text, at, model }): Turn => {
    const turn: Turn = { id, parent: nearest(parent), role: role as Turn['role'], text, at: at * 1000, state: 'done' };
    return role === 'assistant' && model ? { ...turn, model } : turn;
  });
  const system = nodes.find((node) => node.role === 'system' && node.text.trim() !== '')?.text ?? '';
  // No model of this server is named: the next question needs a choice.
  return { ...emptyConversation(''), system, turns, leaf: nearest(current) ?? turns.at(-1)?.id ?? null };
}
