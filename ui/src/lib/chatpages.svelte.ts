// A list of conversations that is read page by page: those of a folder, those of none, or those that a search finds.

import { call, reason } from './api';
import type { ChatSummaries, ChatSummary } from './types';

const CHATS = '/ui/v1/chats';
const PAGE = '50';

export class ChatPages {
  list = $state<ChatSummary[]>([]);
  state = $state<'loading' | 'ready' | 'failed'>('loading');
  problem = $state('');
  next = $state<string | null>(null);

  /** `query`: which conversations, as the server's list takes it. */
  constructor(readonly query: Record<string, string>) {}

  /** Reads the first page, or the next one. */
  async load(more = false): Promise<void> {
    if (!more) this.state = 'loading';
    const query = new URLSearchParams({ limit: PAGE, ...this.query });
    if (more && this.next) query.set('after', this.next);
    try {
      const page = await call<ChatSummaries>(`${CHATS}?${query}`);
      this.list = more ? [...this.list, ...page.chats] : page.chats;
      this.next = page.next;
      this.state = 'ready';
    } catch (error) {
      this.problem = reason(error);
      this.state = 'failed';
    }
  }

  has(id: string): boolean {
    return this.list.some((chat) => chat.id === id);
  }

  /** Puts a conversation where it belongs. */
  put(stored: ChatSummary): void {
    const order = (a: ChatSummary, b: ChatSummary) =>
      Number(b.pinned) - Number(a.pinned) || b.updated_at_ms - a.updated_at_ms;
    this.list = [stored, ...this.list.filter((chat) => chat.id !== stored.id)].sort(order);
  }

  drop(id: string): void {
    this.list = this.list.filter((chat) => chat.id !== id);
  }
}
