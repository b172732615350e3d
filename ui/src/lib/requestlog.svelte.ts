// The request log: the latest pages, and what is recorded from then on, by the server's stream of ended requests.

import { ApiError, call, reason, send } from './api';
import { merge, MOST } from './requestrows';
import { events } from './sse';
import type { RequestRecord, RequestRecords } from './types';

/** Requests of the first page, and of each that follows. */
const FIRST = 100;
const PAGE = 500;
/** New requests are shown together: a busy server ends hundreds a second. */
const SHOW_MS = 200;
const RECONNECT_MS = 1000;
const PATH = '/admin/v1/requests';

export interface LogFilter {
  model: string;
  backend: string;
  status: string;
  key: string;
  /** A local time, as a field of the form has it. */
  since: string;
}

export class RequestLog {
  rows = $state.raw<RequestRecord[]>([]);
  next = $state<string | null>(null);
  phase = $state<'loading' | 'ready' | 'failed'>('loading');
  problem = $state('');
  /** Called with the number of rows that come before those that are shown. */
  grown: (count: number) => void = () => undefined;
  #filter: LogFilter = { model: '', backend: '', status: '', key: '', since: '' };
  /** The last event of the stream; null before the first. */
  #last: string | null = null;
  #pending: RequestRecord[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Ends what belongs to an earlier filter. */
  #control = new AbortController();
  #reading = false;
  /** The first page of the filter. */
  #first: Promise<void> = Promise.resolve();

  /** Reads anew with a filter. */
  async begin(filter: LogFilter): Promise<void> {
    this.#control.abort();
    this.#control = new AbortController();
    [this.#filter, this.#last, this.#pending] = [filter, null, []];
    this.#first = this.#load(null);
    await this.#first;
  }

  /** Ends a read that is under way. */
  end(): void {
    this.#control.abort();
  }

  /** Reads what lies before the last row. */
  async more(): Promise<void> {
    if (this.next && !this.#reading && this.rows.length < MOST) await this.#load(this.next);
  }

  async #load(after: string | null): Promise<void> {
    const { signal } = this.#control;
    this.#reading = true;
    const query = this.#query({ limit: String(after ? PAGE : FIRST), ...(after ? { after } : {}) });
    if (this.#filter.since) query.set('since', new Date(this.#filter.since).toISOString());
    try {
      const page = await call<RequestRecords>(`${PATH}?${query}`, { signal });
      if (signal.aborted) return;
      const known = new Set(this.rows.map((row) => row.id));
      const earlier = page.requests.filter((row) => !known.has(row.id));
      this.rows = after ? [...this.rows, ...earlier].slice(0, MOST) : page.requests;
      [this.next, this.phase] = [page.next, 'ready'];
    } catch (error) {
      if (!signal.aborted) [this.problem, this.phase] = [reason(error), 'failed'];
    } finally {
      if (!signal.aborted) this.#reading = false;
    }
  }

  #query(more: Record<string, string>): URLSearchParams {
    const query = new URLSearchParams(more);
    const { model, backend, status, key } = this.#filter;
    for (const [name, value] of Object.entries({ model, backend, status, key })) if (value) query.set(name, value);
    return query;
  }

  /** Follows the stream until the returned function is called. A stream that breaks is taken up where it broke. */
  follow(): () => void {
    const control = new AbortController();
    void this.#follow(control.signal);
    return () => {
      control.abort();
      this.#show();
    };
  }

  async #follow(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.#read(signal);
      } catch (error) {
        if (signal.aborted) return;
        // Without the right, or with a wrong filter, another try would be refused too.
        if (error instanceof ApiError && error.status < 500) return;
      }
      await new Promise((resolve) => setTimeout(resolve, RECONNECT_MS));
    }
  }

  async #read(signal: AbortSignal): Promise<void> {
    const since = this.#last;
    const headers: Record<string, string> = since === null ? {} : { 'last-event-id': since };
    const response = await send(`${PATH}/tail?${this.#query({})}`, { signal, headers });
    if (!response.body) return;
    if (since === null) {
      await this.#catchUp(signal).catch(async (error: unknown) => {
        await response.body?.cancel();
        throw error;
      });
    }
    for await (const event of events(response.body)) {
      if (signal.aborted) return;
      if (event.id !== undefined) this.#last = event.id;
      if (event.name === 'request') this.#take(JSON.parse(event.data) as RequestRecord);
    }
  }

  /** Reads what was recorded after the first page was read and before the stream began. */
  async #catchUp(signal: AbortSignal): Promise<void> {
    await this.#first;
    const page = await call<RequestRecords>(`${PATH}?${this.#query({ limit: String(FIRST) })}`, { signal });
    page.requests.reverse().forEach((row) => this.#take(row));
  }

  #take(row: RequestRecord): void {
    if (this.#filter.since && row.started_at_ms < new Date(this.#filter.since).getTime()) return;
    this.#pending.push(row);
    this.#timer ??= setTimeout(() => this.#show(), SHOW_MS);
  }

  #show(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const before = this.rows;
    this.rows = merge(this.#pending.splice(0), before);
    const last = before[0];
    const added = last ? this.rows.findIndex((row) => row.id === last.id) : 0;
    if (added > 0) this.grown(added);
  }
}
