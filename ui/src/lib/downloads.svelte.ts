// The downloads of the server. It goes on with them when the page is closed.

import { ApiError, call, reason, send } from './api';
import type { Download, Priority } from './types';

const DOWNLOADS = '/admin/v1/downloads';
/** Pauses between two readings, in milliseconds: while bytes come, and while none do. */
const BUSY_MS = 1000;
const IDLE_MS = 5000;

class Downloads {
  list = $state<Download[]>([]);
  /** `absent`: this server downloads nothing itself. */
  state = $state<'loading' | 'ready' | 'failed' | 'absent'>('loading');
  problem = $state('');
  /** Those that are not on disk yet. */
  open = $derived(this.list.filter((one) => one.state !== 'done'));

  async load(): Promise<void> {
    try {
      this.list = (await call<{ downloads: Download[] }>(DOWNLOADS)).downloads;
      this.state = 'ready';
    } catch (error) {
      this.problem = reason(error);
      if (error instanceof ApiError && error.status === 404) this.state = 'absent';
      // What was read stays while the gateway is replaced.
      else if (this.state !== 'ready') this.state = 'failed';
    }
  }

  /** Reads the list again and again until the returned function is called. */
  follow(): () => void {
    let timer = 0;
    let ended = false;
    const next = async (): Promise<void> => {
      if (document.visibilityState === 'visible') await this.load();
      if (ended || this.state === 'absent') return;
      const busy = this.list.some((one) => one.state === 'running' || one.state === 'queued');
      timer = setTimeout(() => void next(), busy ? BUSY_MS : IDLE_MS);
    };
    void next();
    return () => {
      ended = true;
      clearTimeout(timer);
    };
  }

  /** The download of a model, the latest if there are several. */
  of(model: string): Download | undefined {
    return this.list.findLast((one) => one.model === model);
  }

  async begin(order: { model: string; revision?: string; priority?: Priority; force?: boolean }): Promise<void> {
    this.#note(await call<Download>(DOWNLOADS, { body: order }));
  }

  async change(id: string, change: { paused?: boolean; priority?: Priority }): Promise<void> {
    this.#note(await call<Download>(`${DOWNLOADS}/${encodeURIComponent(id)}`, { method: 'PATCH', body: change }));
  }

  /** Takes it off the list. Unless `keep`, what has come of an incomplete model is deleted. */
  async remove(id: string, keep: boolean): Promise<void> {
    await send(`${DOWNLOADS}/${encodeURIComponent(id)}${keep ? '?keep=true' : ''}`, { method: 'DELETE' });
    this.list = this.list.filter((one) => one.id !== id);
  }

  #note(changed: Download): void {
    const known = this.list.some((one) => one.id === changed.id);
    this.list = known ? this.list.map((one) => (one.id === changed.id ? changed : one)) : [...this.list, changed];
  }
}

export const downloads = new Downloads();
