// The server's settings as a form: what is shown, what differs, and what a change deletes. Pure functions.

import type { ServerSetting } from './types';

type Kind = 'text' | 'number' | 'list' | 'switch';

interface Field {
  kind: Kind;
  /** The bounds of a number. The server checks them again. */
  min?: number;
  max?: number;
  /** Whether a sentence says what is risky about it. */
  hint?: boolean;
  /** What stands in an empty field without a default. */
  empty?: 'automatic' | 'never' | 'none';
  /** Whether a smaller number deletes what is stored. */
  deletes?: boolean;
}

const days = { kind: 'number', max: 36_500, deletes: true } as const;

export const SECTIONS = {
  access: {
    host: { kind: 'text', hint: true },
    port: { kind: 'number', min: 0, max: 65_535 },
    allowed_hosts: { kind: 'list', hint: true, empty: 'none' },
    cors_origins: { kind: 'list', hint: true, empty: 'none' },
  },
  models: {
    memory: { kind: 'text', hint: true, empty: 'automatic' },
    idle_seconds: { kind: 'number', min: 0, empty: 'never' },
    hang_seconds: { kind: 'number', min: 1 },
  },
  requests: {
    recoveries: { kind: 'number', min: 0 },
    drain_seconds: { kind: 'number', min: 0 },
    idle_connection_seconds: { kind: 'number', min: 1, max: 86_400 },
    body_seconds: { kind: 'number', min: 1, max: 86_400 },
  },
  kept: {
    response_days: { ...days, min: 1 },
    request_days: { ...days, min: 31 },
    request_rows: { kind: 'number', min: 1000, max: 100_000_000, deletes: true },
  },
  downloads: {
    download_limit: { kind: 'text', hint: true, empty: 'none' },
    auto_download: { kind: 'switch', hint: true },
  },
} as const satisfies Record<string, Record<string, Field>>;

export type Section = keyof typeof SECTIONS;
type NamesOf<T> = T extends unknown ? keyof T : never;
export type Name = NamesOf<(typeof SECTIONS)[Section]>;

const FIELDS = Object.assign({}, ...Object.values(SECTIONS)) as Record<Name, Field>;
export const SECTION_NAMES = Object.keys(SECTIONS) as Section[];
export const namesOf = (section: Section): Name[] => Object.keys(SECTIONS[section]) as Name[];
export const fieldOf = (name: Name): Field => FIELDS[name];

/** What the fields hold. An empty one stands for the default. */
export type Draft = Record<string, string | number | boolean | null>;

/** A setting of the form, if the server has it. */
export function find(settings: ServerSetting[], name: string): ServerSetting | undefined {
  return settings.find((setting) => setting.name === name);
}

export function draftOf(settings: ServerSetting[]): Draft {
  return Object.fromEntries(settings.map((setting) => [setting.name, fieldValue(setting)]));
}

function fieldValue({ name, value, source }: ServerSetting): string | number | boolean {
  if (FIELDS[name as Name]?.kind === 'switch') return value === true;
  return source === 'default' || value === null ? '' : written(value);
}

/** A value as a field has it. */
export function written(value: ServerSetting['value']): string | number {
  if (typeof value === 'number') return value;
  return Array.isArray(value) ? value.join(', ') : String(value ?? '');
}

/** The value of a field in JSON; null for the default. */
function valueOf(kind: Kind, field: Draft[string] | undefined): ServerSetting['value'] {
  if (kind === 'switch') return field === true;
  const text = String(field ?? '').trim();
  if (kind === 'list') {
    const items = text.split(',').map((item) => item.trim());
    const filled = items.filter((item) => item !== '');
    return filled.length > 0 ? filled : null;
  }
  if (text === '') return null;
  return kind === 'number' ? Number(text) : text;
}

/** The settings whose fields differ from what the server has. */
export function changes(settings: ServerSetting[], draft: Draft): Partial<Record<Name, ServerSetting['value']>> {
  const differing = settings.flatMap((setting): [string, ServerSetting['value']][] => {
    const field = FIELDS[setting.name as Name];
    if (!field || setting.place !== null) return [];
    const value = valueOf(field.kind, draft[setting.name]);
    return same(value, valueOf(field.kind, fieldValue(setting))) ? [] : [[setting.name, value]];
  });
  return Object.fromEntries(differing);
}

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

/** The changed settings that delete something. */
export function losses(settings: ServerSetting[], changed: ReturnType<typeof changes>): Name[] {
  return (Object.keys(changed) as Name[]).filter((name) => {
    const setting = find(settings, name);
    return FIELDS[name].deletes && setting && Number(changed[name] ?? setting.default) < Number(setting.value);
  });
}

/** The fields after the settings were read again: those that somebody has changed here stay. */
export function rebase(draft: Draft, before: ServerSetting[], after: ServerSetting[]): Draft {
  const touched = changes(before, draft);
  const fresh = draftOf(after);
  return Object.fromEntries(Object.entries(fresh).map(([name, value]) => [name, name in touched ? (draft[name] ?? null) : value]));
}
