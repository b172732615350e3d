// The API key of this tab. It is kept for the tab's life only, and goes to this server only.

const STORED = 'mlxd.key';

class Session {
  /** The key; empty where the server needs none. */
  key = $state(sessionStorage.getItem(STORED) ?? '');
  /** What the server said when it refused the last request for want of a key. */
  refusal = $state('');
  /** Whether the server answers at all. */
  reachable = $state(true);

  use(key: string): void {
    this.key = key.trim();
    this.refusal = '';
    if (this.key) sessionStorage.setItem(STORED, this.key);
    else sessionStorage.removeItem(STORED);
  }

  /** Forgets the key. The page begins anew, without what it has read. */
  leave(): void {
    this.use('');
    location.reload();
  }
}

export const session = new Session();
