// Reads the request log for the page of usage: the latest first, a bounded part at a time.

import { call, reason } from './api';
import type { RequestRecords } from './types';
import { entry, type Entry } from './usage';

/** The largest page that the server gives. */
const PAGE = 500;
/** Requests that are read without being asked for more. */
export const BATCH = 10_000;
/** Requests that the page holds at most. */
export const MOST = 100_000;

export class UsageLog {
  entries = $state.raw<Entry[]>([]);
  state = $state<'loading' | 'ready' | 'failed'>('loading');
  problem = $state('');
  /** Requests read so far, while more are read. */
  count = $state(0);
  /** Whether earlier requests of the time were not read. */
  more = $state(false);
  #since: number | null = null;
  #after: string | null = null;
  #reading = new AbortController();

  /** Begins anew with requests that began at `since` or later, in milliseconds since the epoch; null for all. */
  begin(since: number | null): void {
    [this.#since, this.#after] = [since, null];
    [this.entries, this.count, this.more] = [[], 0, false];
    void this.read();
  }

  /** Reads the next part. */
  async read(): Promise<void> {
    this.stop();
    const control = new AbortController();
    this.#reading = control;
    this.state = 'loading';
    const read: Entry[] = [];
    try {
      do {
        const page = await this.#page(control.signal);
        read.push(...page.requests.map(entry));
        this.#after = page.next;
        this.count = this.entries.length + read.length;
      } while (this.#after && read.length < BATCH);
      this.state = 'ready';
    } catch (error) {
      if (control.signal.aborted) return;
      [this.problem, this.state] = [reason(error), 'failed'];
    }
    this.entries = [...this.entries, ...read];
    this.more = this.#after !== null;
  }

  async #page(signal: AbortSignal): Promise<RequestRecords> {
    const query = new URLSearchParams({ limit: String(PAGE) });
    if (this.#since !== null) query.set('since', new Date(this.#since).toISOString());
    if (this.#after) query.set('after', this.#after);
    const page = await call<RequestRecords>(`/admin/v1/requests?${query}`, { signal });
    signal.throwIfAborted();
    return page;
  }

  stop(): void {
    this.#reading.abort();
  }
}
