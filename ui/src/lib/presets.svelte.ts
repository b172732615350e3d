// Named system prompts with parameters. The server keeps them beside the conversations.

import { ApiError, call, reason } from './api';
import { NO_PARAMETERS, type Conversation, type Parameters } from './conversation';
import { t } from './i18n.svelte';
import { newId } from './ids';
import type { ChatPreset, ChatPresets } from './types';

export type Values = Pick<Conversation, 'system' | 'parameters'>;

export interface Preset extends Values {
  id: string;
  name: string;
}

const PRESETS = '/ui/v1/presets';
/** Where they were kept before the server had a place for them. */
const STORED = 'mlxd.presets';

/** A copy of what a preset sets. */
export function valuesOf({ system, parameters }: Values): Values {
  return { system, parameters: { ...parameters } };
}

export function isSame(a: Values, b: Values): boolean {
  const names = Object.keys(NO_PARAMETERS) as (keyof Parameters)[];
  return a.system.trim() === b.system.trim() && names.every((name) => a.parameters[name] === b.parameters[name]);
}

/** What a stored preset sets; null if it is none. */
function valuesIn(body: unknown): Values | null {
  const { system, parameters } = (body ?? {}) as Partial<Values>;
  if (typeof system !== 'string' || typeof parameters !== 'object' || parameters === null) return null;
  return { system, parameters: { ...NO_PARAMETERS, ...parameters } };
}

/** The presets of this browser's storage, by name. */
function earlier(): [string, Values][] {
  try {
    const list: unknown = JSON.parse(localStorage.getItem(STORED) ?? '[]');
    return (Array.isArray(list) ? list : []).flatMap((one: unknown): [string, Values][] => {
      const { name } = (one ?? {}) as { name?: unknown };
      const values = valuesIn(one);
      return typeof name === 'string' && values ? [[name, values]] : [];
    });
  } catch {
    return [];
  }
}

class Presets {
  list = $state.raw<Preset[]>([]);
  /** Why they cannot be read. */
  problem = $state('');

  /** Reads them. Those of this browser's storage move to the server. */
  async load(): Promise<void> {
    try {
      this.#take(await call<ChatPresets>(PRESETS));
      if (localStorage.getItem(STORED) !== null) await this.#move();
      this.problem = '';
    } catch (error) {
      this.problem = reason(error);
    }
  }

  async #move(): Promise<void> {
    for (const [name, values] of earlier()) {
      if (!this.find(name)) await this.#put(newId(), name, values).catch(ignoreRefusal);
    }
    localStorage.removeItem(STORED);
  }

  find(name: string): Preset | undefined {
    return this.list.find((preset) => preset.name === name);
  }

  /** Adds one. Throws if the name is taken. */
  async add(name: string, values: Values): Promise<void> {
    this.#expectFree(name);
    await this.#put(newId(), name, values);
  }

  async update(name: string, values: Values): Promise<void> {
    const preset = this.find(name);
    if (preset) await this.#put(preset.id, name, values);
  }

  async rename(name: string, to: string): Promise<void> {
    const preset = this.find(name);
    if (!preset || name === to) return;
    this.#expectFree(to);
    await this.#put(preset.id, to, preset);
  }

  async delete(name: string): Promise<void> {
    const preset = this.find(name);
    if (preset) this.#take(await call<ChatPresets>(`${PRESETS}/${preset.id}`, { method: 'DELETE' }));
  }

  #expectFree(name: string): void {
    if (this.find(name)) throw new Error(t('preset_taken', { name }));
  }

  async #put(id: string, name: string, values: Values): Promise<void> {
    const body = { name, body: valuesOf(values) };
    this.#take(await call<ChatPresets>(`${PRESETS}/${id}`, { method: 'PUT', body }));
  }

  #take({ presets }: ChatPresets): void {
    this.list = presets.flatMap(({ id, name, body }: ChatPreset) => {
      const values = valuesIn(body);
      return values ? [{ id, name, ...values }] : [];
    });
  }
}

/** A preset that the server does not take is not worth another try at each visit. */
function ignoreRefusal(error: unknown): void {
  if (!(error instanceof ApiError) || error.status >= 500) throw error;
}

export const presets = new Presets();
