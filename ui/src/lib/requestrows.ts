// The rows of the request log: which are there, and which of them are drawn. Pure functions.

import type { RequestRecord } from './types';

/** Requests that the page holds at most. */
export const MOST = 10_000;

/** Rows that are drawn beyond what is seen, so that the next one is there for the keyboard and a fast finger. */
const SPARE = 12;

/** The rows from `from` up to, and without, `to`. `top` and `height` are those of what is seen, in pixels. */
export function drawn(top: number, height: number, row: number, count: number): { from: number; to: number } {
  const first = Math.floor(Math.max(0, top) / row);
  const last = Math.ceil((Math.max(0, top) + height) / row);
  const from = Math.min(Math.max(0, first - SPARE), Math.max(0, count - 1));
  return { from, to: Math.min(count, last + SPARE) };
}

/** New requests before those that are there already, each once, at most [`MOST`]. */
export function merge(added: RequestRecord[], rows: RequestRecord[]): RequestRecord[] {
  const known = new Set(rows.map((row) => row.id));
  const fresh = added.filter(({ id }) => !known.has(id) && known.add(id));
  return fresh.length > 0 ? [...fresh.reverse(), ...rows].slice(0, MOST) : rows;
}
