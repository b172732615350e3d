// The conversations: their lists and folders, those that are open, and the answers that are being written.

import { answer } from './answer';
import { isEmpty, nothing, type Attached } from './attachments';
import { ApiError, call, reason, send } from './api';
import { ChatPages } from './chatpages.svelte';
import {
  branch,
  children,
  emptyConversation,
  isSame,
  newestLeaf,
  pack,
  requestBody,
  rows,
  titleOf,
  unpack,
  type Conversation,
  type Lane,
  type Turn,
} from './conversation';
import { newId } from './ids';
import type { ChatFolder, ChatFolders, ChatSummary } from './types';

const CHATS = '/ui/v1/chats';
const FOLDERS = '/ui/v1/folders';
const ANSWERS = '/ui/v1/answers';
/** How often an answer in progress is kept, in milliseconds. */
const KEEP_MS = 4000;

interface StoredChat extends ChatSummary {
  body: Conversation;
}

/** Ends a request. One that was stopped at once may not have reached the server yet. */
async function cancel(key: string): Promise<void> {
  for (const pause of [0, 500, 2000]) {
    await new Promise((resolve) => setTimeout(resolve, pause));
    const done = await send(`${ANSWERS}/${key}`, { method: 'DELETE' }).then(
      () => true,
      () => false,
    );
    if (done) return;
  }
}

/** One conversation. */
export class Chat {
  title = $state('');
  pinned = $state(false);
  conversation: Conversation = $state(emptyConversation(''));
  /** What the server says while an answer has not begun, by the answer's id. */
  notes = $state<Record<string, string>>({});
  /** Why the conversation could not be kept. */
  problem = $state('');
  /** The models that are asked: one, or two beside each other. */
  lanes = $derived<Lane[]>(
    this.conversation.beside ? [this.conversation, this.conversation.beside] : [this.conversation],
  );
  /** The branch of each model. */
  paths = $derived(this.lanes.map((lane) => branch(this.conversation, lane.leaf)));
  rows = $derived(rows(this.paths));
  revision = 0;
  #children = $derived(children(this.conversation));
  #streams = new Map<string, AbortController>();
  #running = $state(0);
  #saving: Promise<void> | null = null;
  #unsaved = false;

  constructor(readonly id: string) {}

  fill(stored: StoredChat): void {
    this.title = stored.title;
    this.pinned = stored.pinned;
    this.revision = stored.revision;
    this.conversation = unpack(stored.body);
    for (const turn of this.conversation.turns.filter((one) => one.state === 'running')) void this.#resume(turn);
  }

  /** Whether an answer is being written. */
  get running(): boolean {
    return this.#running > 0;
  }

  /** The turns that stand in the place of this one, itself among them. The other model's answers stand in another place. */
  siblings(turn: Turn): Turn[] {
    const all = this.#children.get(turn.parent) ?? [];
    return this.conversation.beside ? all.filter((other) => other.model === turn.model) : all;
  }

  /** Puts a second model beside the first. */
  compare(model: string): void {
    this.conversation.beside = { model, leaf: this.conversation.leaf };
    this.#saveBegun();
  }

  /** Goes on without a model. Its answers stay as branches. */
  leave(lane: Lane): void {
    const { beside } = this.conversation;
    if (beside && lane !== beside) Object.assign(this.conversation, { model: beside.model, leaf: beside.leaf });
    delete this.conversation.beside;
    this.#saveBegun();
  }

  choose(lane: Lane, model: string): void {
    lane.model = model;
    this.#saveBegun();
  }

  /** Adds a question, in the place of `replaced` if it is given, and asks for the answers. */
  ask(text: string, attached = nothing(), replaced?: Turn): void {
    if (!this.title) this.title = titleOf(text || ([...attached.files, ...attached.images][0]?.name ?? ''));
    const files = isEmpty(attached) ? {} : ($state.snapshot(attached) as Attached);
    const questions = new Map<string | null, string>();
    for (const { lane, parent } of this.#places(replaced)) {
      let id = questions.get(parent);
      if (!id) {
        id = newId();
        questions.set(parent, id);
        this.conversation.turns.push({ id, parent, role: 'user', text, ...files, at: Date.now(), state: 'done' });
      }
      this.#answerTo(id, lane);
    }
  }

  /** Where a question goes: to the end of each branch, or in the place of one that each of them has. */
  #places(replaced: Turn | undefined): { lane: Lane; parent: string | null }[] {
    if (!replaced) return this.lanes.map((lane) => ({ lane, parent: lane.leaf }));
    const place = this.rows.findIndex((row) => row.some((turn) => turn?.id === replaced.id));
    return this.lanes.flatMap((lane, at) => {
      const own = this.paths[at]?.[place];
      return own && isSame(own, replaced) ? [{ lane, parent: own.parent }] : [];
    });
  }

  /** The models in whose branch a turn is shown. */
  #lanesOf(turn: Turn): Lane[] {
    return this.lanes.filter((_, at) => this.paths[at]?.some((one) => one.id === turn.id));
  }

  /** Asks for another answer in the place of `turn`. */
  regenerate(turn: Turn): void {
    const { parent } = turn;
    if (parent) this.#lanesOf(turn).forEach((lane) => this.#answerTo(parent, lane));
  }

  /** Goes on with an answer that ended too early. */
  continue(turn: Turn): void {
    const model = this.#lanesOf(turn)[0]?.model ?? this.conversation.model;
    this.#run(turn, requestBody(this.conversation, { model, leaf: turn.id }), turn.text);
  }

  /** Shows the branch with `other` in the place of `turn`. */
  show(turn: Turn, other: Turn): void {
    for (const lane of this.#lanesOf(turn)) lane.leaf = newestLeaf(this.conversation, other.id, lane.model);
    void this.save();
  }

  stop(): void {
    for (const [id, stream] of this.#streams) {
      // The server would go on: the request outlives its page.
      const key = this.#turn(id)?.request?.key;
      if (key) void cancel(key);
      stream.abort();
    }
  }

  #turn(id: string): Turn | undefined {
    return this.conversation.turns.find((turn) => turn.id === id);
  }

  #answerTo(parent: string, lane: Lane): void {
    const { model } = lane;
    const body = requestBody(this.conversation, { model, leaf: parent });
    const id = newId();
    this.conversation.turns.push({ id, parent, role: 'assistant', text: '', at: Date.now(), state: 'running', model });
    lane.leaf = id;
    const turn = this.#turn(id);
    if (turn) this.#run(turn, body, '');
  }

  #run(turn: Turn, body: Record<string, unknown>, before: string): void {
    turn.request = { key: `ui-${newId()}`, body, before };
    delete turn.error;
    void this.#read(turn);
  }

  /** Reads on an answer that was written when the page closed. */
  async #resume(turn: Turn): Promise<void> {
    if (!turn.request) return;
    try {
      await call(`${ANSWERS}/${turn.request.key}`);
      await this.#read(turn);
    } catch (error) {
      // Sending the request would make another answer.
      turn.state = 'stopped';
      delete turn.request;
      if (!(error instanceof ApiError && error.status === 404)) turn.error = reason(error);
    }
  }

  async #read(turn: Turn): Promise<void> {
    const { request, id } = turn;
    if (!request || this.#streams.has(id)) return;
    const control = new AbortController();
    this.#streams.set(id, control);
    this.#running += 1;
    turn.state = 'running';
    void this.save();
    let kept = Date.now();
    const listener = {
      note: (text: string) => (this.notes[id] = text),
      update: (draft: Turn) => {
        delete this.notes[id];
        Object.assign(turn, draft);
        if (Date.now() - kept > KEEP_MS) {
          kept = Date.now();
          void this.save();
        }
      },
    };
    try {
      await answer(request, $state.snapshot(turn) as Turn, listener, control.signal);
      turn.state = 'done';
    } catch (error) {
      turn.state = control.signal.aborted ? 'stopped' : 'failed';
      if (turn.state === 'failed') turn.error = reason(error);
    }
    delete turn.request;
    delete this.notes[id];
    this.#streams.delete(id);
    this.#running -= 1;
    await this.save();
  }

  /** Keeps a change, unless nothing was asked yet. */
  #saveBegun(): void {
    if (this.conversation.turns.length > 0) void this.save();
  }

  /** Keeps the conversation. Calls while one is on its way become one more. */
  save(): Promise<void> {
    this.#unsaved = true;
    this.#saving ??= this.#saveAll().finally(() => (this.#saving = null));
    return this.#saving;
  }

  async #saveAll(): Promise<void> {
    while (this.#unsaved) {
      this.#unsaved = false;
      try {
        await this.#put();
        this.problem = '';
      } catch (error) {
        if (error instanceof ApiError && error.status === 409) await this.#merge();
        else this.problem = reason(error);
      }
    }
  }

  async #put(): Promise<void> {
    const body = {
      title: this.title || '…',
      pinned: this.pinned,
      revision: this.revision,
      body: pack($state.snapshot(this.conversation) as Conversation),
    };
    const stored = await call<ChatSummary>(`${CHATS}/${this.id}`, { method: 'PUT', body });
    this.revision = stored.revision;
    chats.note(stored);
  }

  /** Takes over what another tab has added, and saves again. */
  async #merge(): Promise<void> {
    const stored = await call<StoredChat>(`${CHATS}/${this.id}`);
    this.revision = stored.revision;
    const known = new Set(this.conversation.turns.map((turn) => turn.id));
    this.conversation.turns.push(...unpack(stored.body).turns.filter((turn) => !known.has(turn.id)));
    this.#unsaved = true;
  }
}

class Chats {
  search = $state('');
  /** What the search finds; null while nothing is searched for. */
  found = $state.raw<ChatPages | null>(null);
  /** Those of no folder. */
  loose = $state.raw(new ChatPages({ folder: '' }));
  folders = $state.raw<ChatFolder[]>([]);
  /** The conversations of the folders that are open, by the folder's id. */
  shown = $state.raw<Record<string, ChatPages>>({});
  #open = new Map<string, Chat>();

  /** Reads what the list shows. */
  async load(): Promise<void> {
    const search = this.search.trim();
    this.found = search ? new ChatPages({ search }) : null;
    if (this.found) return this.found.load();
    await Promise.all([this.#loadFolders(), ...[this.loose, ...Object.values(this.shown)].map((pages) => pages.load())]);
  }

  /** A failure is that of the list beside it. */
  async #loadFolders(): Promise<void> {
    await this.#takeFolders(call<ChatFolders>(FOLDERS)).catch(() => undefined);
  }

  async #takeFolders(answer: Promise<ChatFolders>): Promise<void> {
    this.folders = (await answer).folders;
  }

  /** Opens a folder, or closes it. */
  toggle(folder: string): void {
    const { [folder]: open, ...others } = this.shown;
    this.shown = open ? others : { ...others, [folder]: new ChatPages({ folder }) };
    void this.shown[folder]?.load();
  }

  /** Makes a folder. Returns its id. */
  async makeFolder(name: string): Promise<string> {
    const id = newId();
    await this.renameFolder(id, name);
    return id;
  }

  async renameFolder(id: string, name: string): Promise<void> {
    await this.#takeFolders(call<ChatFolders>(`${FOLDERS}/${id}`, { method: 'PUT', body: { name } }));
  }

  /** Deletes a folder. Its conversations are in none from then on. */
  async deleteFolder(id: string): Promise<void> {
    await this.#takeFolders(call<ChatFolders>(`${FOLDERS}/${id}`, { method: 'DELETE' }));
    if (this.shown[id]) this.toggle(id);
    await this.loose.load();
  }

  /** A conversation that is not kept before its first question. */
  begin(model: string): Chat {
    const chat = new Chat(newId());
    chat.conversation.model = model;
    this.#open.set(chat.id, chat);
    return chat;
  }

  async open(id: string): Promise<Chat> {
    const known = this.#open.get(id);
    if (known) return known;
    const stored = await call<StoredChat>(`${CHATS}/${encodeURIComponent(id)}`);
    const chat = new Chat(id);
    this.#open.set(id, chat);
    chat.fill(stored);
    // The list shows which one is open.
    if (stored.folder && !this.shown[stored.folder]) this.toggle(stored.folder);
    return chat;
  }

  /** Renames, pins or moves. */
  async change(id: string, change: { title?: string; pinned?: boolean; folder?: string }): Promise<void> {
    const stored = await call<ChatSummary>(`${CHATS}/${id}`, { method: 'PATCH', body: change });
    const open = this.#open.get(id);
    if (open) {
      open.title = stored.title;
      open.pinned = stored.pinned;
      open.revision = stored.revision;
    }
    this.note(stored);
    if (change.folder !== undefined) await this.#loadFolders();
  }

  async delete(id: string): Promise<void> {
    this.#open.get(id)?.stop();
    await send(`${CHATS}/${id}`, { method: 'DELETE' });
    this.#open.delete(id);
    this.#lists().forEach((pages) => pages.drop(id));
    await this.#loadFolders();
  }

  /** Puts a chat where it belongs in the lists. */
  note(stored: ChatSummary): void {
    const place = stored.folder ? this.shown[stored.folder] : this.loose;
    for (const pages of this.#lists()) {
      if (pages === place || (pages === this.found && pages.has(stored.id))) pages.put(stored);
      else pages.drop(stored.id);
    }
  }

  #lists(): ChatPages[] {
    return [this.loose, ...Object.values(this.shown), ...(this.found ? [this.found] : [])];
  }

  forget(): void {
    this.#open.clear();
    this.loose = new ChatPages({ folder: '' });
    [this.folders, this.shown, this.found] = [[], {}, null];
  }
}

export const chats = new Chats();
