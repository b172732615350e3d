// Sums of the request log by model, key, provider and day. Pure functions.

import type { RequestRecord } from './types';

/** What is kept of a record. */
export type Entry = Pick<
  RequestRecord,
  | 'started_at_ms'
  | 'model'
  | 'used_model'
  | 'backend'
  | 'status'
  | 'prompt_tokens'
  | 'cached_tokens'
  | 'completion_tokens'
  | 'reasoning_tokens'
  | 'first_token_ms'
  | 'total_ms'
  | 'key_id'
  | 'key_name'
  | 'cost_usd'
>;

export const GROUPINGS = ['model', 'key', 'provider', 'day'] as const;
export type Grouping = (typeof GROUPINGS)[number];

export interface Sum {
  requests: number;
  failed: number;
  cancelled: number;
  prompt: number;
  cached: number;
  output: number;
  reasoning: number;
  /** US dollars of the requests with a known price; null if there is none. */
  cost: number | null;
  /** Requests to providers without a known price. */
  unpriced: number;
  /** Milliseconds to the first token and to the end of finished requests, in ascending order. */
  firsts: number[];
  totals: number[];
}

export interface Group {
  /** Empty where no key or no provider was used. */
  name: string;
  sum: Sum;
}

export interface HeatDay {
  /** Midnight, in milliseconds since the epoch. */
  at: number;
  /** One for each hour of the day. */
  hours: number[];
}

export type HeatValue = 'requests' | 'tokens';

/** Leaves out what is not summed: thousands of them are kept. */
export function entry(record: RequestRecord): Entry {
  const { started_at_ms, model, used_model, backend, status, prompt_tokens, cached_tokens } = record;
  const { completion_tokens, reasoning_tokens, first_token_ms, total_ms, key_id, key_name, cost_usd } = record;
  const tokens = { prompt_tokens, cached_tokens, completion_tokens, reasoning_tokens };
  return { started_at_ms, model, used_model, backend, status, ...tokens, first_token_ms, total_ms, key_id, key_name, cost_usd };
}

export function sum(entries: Entry[]): Sum {
  const all = (value: (one: Entry) => number) => entries.reduce((total, one) => total + value(one), 0);
  const finished = entries.filter((one) => one.status === 'finished');
  const priced = entries.filter((one) => one.cost_usd !== null);
  const ascending = (values: number[]) => values.sort((a, b) => a - b);
  return {
    requests: entries.length,
    failed: entries.filter((one) => one.status === 'failed').length,
    cancelled: entries.filter((one) => one.status === 'cancelled').length,
    prompt: all((one) => one.prompt_tokens),
    cached: all((one) => one.cached_tokens),
    output: all((one) => one.completion_tokens),
    reasoning: all((one) => one.reasoning_tokens),
    cost: priced.length > 0 ? priced.reduce((total, one) => total + (one.cost_usd ?? 0), 0) : null,
    unpriced: entries.filter((one) => one.cost_usd === null && isRemote(one)).length,
    firsts: ascending(finished.flatMap((one) => (one.first_token_ms === null ? [] : [one.first_token_ms]))),
    totals: ascending(finished.map((one) => one.total_ms)),
  };
}

const isRemote = ({ backend }: Entry): boolean => backend !== null && backend !== 'local';

/** The sums of each group: the days with the latest first, the others with the most requests first. */
export function groups(entries: Entry[], by: Grouping): Group[] {
  const found = new Map<string, { name: string; entries: Entry[] }>();
  for (const one of entries) {
    const { id, name } = place(one, by);
    const known = found.get(id);
    if (known) known.entries.push(one);
    else found.set(id, { name, entries: [one] });
  }
  const all = [...found.values()].map((group) => ({ name: group.name, sum: sum(group.entries) }));
  return all.sort((a, b) => (by === 'day' ? compare(b.name, a.name) : b.sum.requests - a.sum.requests || compare(a.name, b.name)));
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

function place(one: Entry, by: Grouping): { id: string; name: string } {
  // Two keys may have one name.
  if (by === 'key') return { id: one.key_id ?? one.key_name ?? '', name: one.key_name ?? '' };
  const name = by === 'model' ? modelOf(one) : by === 'provider' ? (one.backend ?? '') : isoDay(one.started_at_ms);
  return { id: name, name };
}

/** The model that answered. A provider's may have the name of a local one. */
function modelOf(one: Entry): string {
  const name = one.used_model ?? one.model;
  return isRemote(one) && !name.startsWith(`${one.backend}/`) ? `${one.backend}/${name}` : name;
}

/** The day of the reader's time zone, such as 2026-11-29. */
export function isoDay(ms: number): string {
  const date = new Date(ms);
  const two = (value: number) => String(value).padStart(2, '0');
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

/** The value that `share` of the ascending values do not exceed, by nearest rank; null without values. */
export function percentile(ascending: number[], share: number): number | null {
  return ascending[Math.max(0, Math.ceil(share * ascending.length) - 1)] ?? null;
}

/** Each hour of the last `most` days with a request, the latest day first. Days between them are there too. */
export function heat(entries: Entry[], value: HeatValue, most: number): HeatDay[] {
  const byDay = new Map<string, number[]>();
  let oldest = Infinity;
  let latest = -Infinity;
  for (const one of entries) {
    const day = isoDay(one.started_at_ms);
    const hours = byDay.get(day) ?? new Array<number>(24).fill(0);
    const hour = new Date(one.started_at_ms).getHours();
    hours[hour] = (hours[hour] ?? 0) + (value === 'requests' ? 1 : one.prompt_tokens + one.completion_tokens);
    byDay.set(day, hours);
    oldest = Math.min(oldest, one.started_at_ms);
    latest = Math.max(latest, one.started_at_ms);
  }
  const days: HeatDay[] = [];
  const date = new Date(latest);
  date.setHours(0, 0, 0, 0);
  // A day of a changing clock has 23 or 25 hours: the calendar counts, not the milliseconds.
  for (; entries.length > 0 && days.length < most; date.setDate(date.getDate() - 1)) {
    days.push({ at: date.getTime(), hours: byDay.get(isoDay(date.getTime())) ?? new Array<number>(24).fill(0) });
    if (date.getTime() <= oldest) break;
  }
  return days;
}

const PERCENTILES = [0.5, 0.95, 0.99];

/** The groups as CSV (RFC 4180), with all figures as numbers. */
export function toCsv(list: Group[], by: Grouping): string {
  const head = [
    by,
    ...['requests', 'failed', 'cancelled', 'prompt_tokens', 'cached_tokens', 'completion_tokens', 'reasoning_tokens'],
    ...['cost_usd', 'requests_without_price'],
    ...['first_token_ms', 'total_ms'].flatMap((name) => PERCENTILES.map((share) => `${name}_p${share * 100}`)),
  ];
  const rows = list.map(({ name, sum }) => [
    name,
    ...[sum.requests, sum.failed, sum.cancelled, sum.prompt, sum.cached, sum.output, sum.reasoning],
    ...[sum.cost === null ? null : Number(sum.cost.toFixed(9)), sum.unpriced],
    ...[sum.firsts, sum.totals].flatMap((values) => PERCENTILES.map((share) => percentile(values, share))),
  ]);
  return [head, ...rows].map((row) => `${row.map(field).join(',')}\r\n`).join('');
}

function field(value: string | number | null): string {
  if (typeof value !== 'string') return String(value ?? '');
  // Names are the clients' own. A table program would run one that begins as a formula.
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
