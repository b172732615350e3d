// How this tab is let in: by a session, whose cookie no script can read, by an API key, or by neither on a server that is open. A key
// is kept for the tab's life only, and goes to this server only.

import type { Access } from './types';

const STORED = 'mlxd.key';

class Session {
  /** The key; empty where there is a session, or where the server needs neither. */
  key = $state(sessionStorage.getItem(STORED) ?? '');
  /** Who this tab is; null before the server has said it. */
  access = $state.raw<Access | null>(null);
  /** Whether the server asks who this is. The page waits meanwhile, with all that it holds. */
  asked = $state(false);
  /** The token of a one-time link, which sets a password. */
  link = $state('');
  /** Whether the server answers at all. */
  reachable = $state(true);
  #waiting: (() => void)[] = [];

  use(key: string): void {
    this.key = key.trim();
    if (this.key) sessionStorage.setItem(STORED, this.key);
    else sessionStorage.removeItem(STORED);
  }

  /** Goes on as the one that the server knows, or asks who this is. */
  enter(access: Access): void {
    this.asked = access.by === null;
    if (this.asked) {
      // What waits behind the sign-in looks as it did.
      this.access = { ...(this.access ?? access), has_password: access.has_password };
      return;
    }
    this.access = access;
    this.link = '';
    for (const go of this.#waiting.splice(0)) go();
  }

  /** Asks who this is, and waits for it. */
  async needed(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    this.asked = true;
    return new Promise((resolve, reject) => {
      this.#waiting.push(resolve);
      signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
    });
  }
}

export const session = new Session();
