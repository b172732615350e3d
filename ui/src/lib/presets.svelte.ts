// Named system prompts with parameters. They stay in this browser, as the language does: the server has no place for them.

import { NO_PARAMETERS, type Conversation, type Parameters } from './conversation';
import { t } from './i18n.svelte';

export type Values = Pick<Conversation, 'system' | 'parameters'>;

export interface Preset extends Values {
  name: string;
}

const STORED = 'mlxd.presets';

/** A copy of what a preset sets. */
export function valuesOf({ system, parameters }: Values): Values {
  return { system, parameters: { ...parameters } };
}

export function isSame(a: Values, b: Values): boolean {
  const names = Object.keys(NO_PARAMETERS) as (keyof Parameters)[];
  return a.system.trim() === b.system.trim() && names.every((name) => a.parameters[name] === b.parameters[name]);
}

function isPreset(value: unknown): value is Preset {
  const { name, system, parameters } = (value ?? {}) as Partial<Preset>;
  return typeof name === 'string' && typeof system === 'string' && typeof parameters === 'object' && parameters !== null;
}

function read(): Preset[] {
  try {
    const list: unknown = JSON.parse(localStorage.getItem(STORED) ?? '[]');
    const presets = Array.isArray(list) ? list.filter(isPreset) : [];
    return presets.map((preset) => ({ ...preset, parameters: { ...NO_PARAMETERS, ...preset.parameters } }));
  } catch {
    return [];
  }
}

class Presets {
  list = $state.raw<Preset[]>(read());

  constructor() {
    // Another tab has changed them.
    addEventListener('storage', ({ key }) => {
      if (key === STORED) this.list = read();
    });
  }

  find(name: string): Preset | undefined {
    return this.list.find((preset) => preset.name === name);
  }

  /** Adds one. Throws if the name is taken, or the browser has no room. */
  add(name: string, values: Values): void {
    this.#expectFree(name);
    this.#keep([...this.list, { name, ...valuesOf(values) }]);
  }

  update(name: string, values: Values): void {
    this.#keep(this.list.map((preset) => (preset.name === name ? { name, ...valuesOf(values) } : preset)));
  }

  rename(name: string, to: string): void {
    if (name === to) return;
    this.#expectFree(to);
    this.#keep(this.list.map((preset) => (preset.name === name ? { ...preset, name: to } : preset)));
  }

  delete(name: string): void {
    this.#keep(this.list.filter((preset) => preset.name !== name));
  }

  #expectFree(name: string): void {
    if (this.find(name)) throw new Error(t('preset_taken', { name }));
  }

  #keep(list: Preset[]): void {
    const sorted = list.sort((a, b) => a.name.localeCompare(b.name));
    localStorage.setItem(STORED, JSON.stringify(sorted));
    this.list = sorted;
  }
}

export const presets = new Presets();
