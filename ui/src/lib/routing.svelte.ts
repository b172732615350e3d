// The routes of the server. The whole list is replaced at once, and only if it is still the one that was read.

import { ApiError, call, reason } from './api';
import { moved } from './routing';
import type { Route, RouteLists } from './types';

const ROUTES = '/admin/v1/routes';

/** A route with an id of this page: names may repeat while one is being edited. */
export interface Placed {
  id: number;
  route: Route;
}

class Routing {
  /** Those of config.toml, which come first. */
  configured = $state.raw<Route[]>([]);
  routes = $state.raw<Placed[]>([]);
  state = $state<'loading' | 'ready' | 'failed'>('loading');
  problem = $state('');
  /** Whether another program changed the list since it was read. */
  changed = $state(false);
  #revision = 0;
  #ids = 0;
  #saving: Promise<void> | null = null;
  #unsaved = false;

  async load(): Promise<void> {
    try {
      this.#take(await call<RouteLists>(ROUTES));
      this.state = 'ready';
    } catch (error) {
      [this.problem, this.state] = [reason(error), 'failed'];
    }
  }

  #take({ revision, configured, routes }: RouteLists): void {
    this.#revision = revision;
    this.configured = configured;
    // Routes that stay keep their ids, so that what has the focus keeps it.
    const known = this.routes.map((one) => ({ id: one.id, text: JSON.stringify(one.route) }));
    this.routes = routes.map((route) => {
      const at = known.findIndex((one) => one.text === JSON.stringify(route));
      const id = at < 0 ? (this.#ids += 1) : (known.splice(at, 1)[0]?.id ?? 0);
      return { id, route };
    });
  }

  /** Replaces the list. Nothing changes if the server refuses it. */
  async replace(routes: Route[]): Promise<void> {
    this.changed = false;
    try {
      this.#take(await this.#stored(routes));
    } catch (error) {
      if (error instanceof ApiError && error.status === 412) {
        await this.load();
        this.changed = true;
      }
      throw error;
    }
  }

  /** Puts a route in the place of the one with this id, or at the end. */
  put(id: number | null, route: Route): Promise<void> {
    const list = this.routes.map((one) => (one.id === id ? route : one.route));
    return this.replace(this.routes.some((one) => one.id === id) ? list : [...list, route]);
  }

  remove(id: number): Promise<void> {
    return this.replace(this.routes.filter((one) => one.id !== id).map((one) => one.route));
  }

  /** Moves a route on the page; `keep` tells the server. */
  move(from: number, to: number): void {
    if (to >= 0 && to < this.routes.length) this.routes = moved(this.routes, from, to);
  }

  /** Stores the order. Calls while one is on its way become one more. */
  keep(): Promise<void> {
    this.#unsaved = true;
    this.#saving ??= this.#keepAll().finally(() => (this.#saving = null));
    return this.#saving;
  }

  async #keepAll(): Promise<void> {
    while (this.#unsaved) {
      this.#unsaved = false;
      const order = this.routes;
      try {
        const list = await this.#stored(order.map((one) => one.route));
        // The keyboard may have moved on meanwhile.
        if (this.routes === order) this.#take(list);
        else this.#revision = list.revision;
        this.problem = '';
      } catch (error) {
        this.#unsaved = false;
        await this.load();
        this.problem = reason(error);
      }
    }
  }

  #stored(routes: Route[]): Promise<RouteLists> {
    const headers = { 'if-match': `"${this.#revision}"` };
    return call<RouteLists>(ROUTES, { method: 'PUT', body: { routes }, headers });
  }
}

export const routing = new Routing();
