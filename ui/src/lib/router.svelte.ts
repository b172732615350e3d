// The page that is open, in the address's fragment: paths belong to the API. A one-time link has its token there, too.

import { session } from './session.svelte';

const SETUP = '#setup=';

export const PAGES = [
  'chat',
  'models',
  'activity',
  'usage',
  'bench',
  'providers',
  'routes',
  'keys',
  'logs',
  'connect',
  'settings',
] as const;
export type Page = (typeof PAGES)[number];

class Router {
  page = $state<Page>('chat');
  /** What follows the page: a chat's id, a request's id. */
  id = $state('');

  constructor() {
    this.#read();
    addEventListener('hashchange', () => this.#read());
  }

  #read(): void {
    if (location.hash.startsWith(SETUP)) {
      session.link = location.hash.slice(SETUP.length);
      // The token must not stay in the address, where others see it, nor in the history.
      history.replaceState(null, '', '#/');
    }
    const [, page = '', ...rest] = location.hash.split('/');
    this.page = PAGES.find((known) => known === page) ?? 'chat';
    this.id = decodeURIComponent(rest.join('/'));
  }
}

export const router = new Router();

export function link(page: Page, id = ''): string {
  return id ? `#/${page}/${encodeURIComponent(id)}` : `#/${page}`;
}

export function open(page: Page, id = ''): void {
  location.hash = link(page, id);
}
