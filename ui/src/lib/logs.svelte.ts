// The last lines of all processes' logs, followed by asking for what is behind the last one.

import { call, reason } from './api';
import type { LogLine, LogLines } from './types';

const FIRST = 1000;
/** Lines that the page keeps. The server has no more. */
const MOST = 5000;
const PAUSE_MS = 1000;

export const LEVELS = ['ERROR', 'WARN', 'INFO', 'DEBUG', 'TRACE'] as const;
export type Level = (typeof LEVELS)[number];

/** A line, with the level of the line that it goes on with. */
export interface ShownLine extends LogLine {
  severity: Level;
}

export interface LogFilter {
  process: string;
  /** The least severe level. */
  level: Level;
  text: string;
}

/** Gives lines without a level that of the line before them of their process. */
export function withLevels(lines: LogLine[], last: Map<string, Level>): ShownLine[] {
  return lines.map((line) => {
    const severity = line.level ?? last.get(line.process) ?? 'INFO';
    last.set(line.process, severity);
    return { ...line, severity };
  });
}

export function matches(line: ShownLine, { process, level, text }: LogFilter): boolean {
  return (
    (!process || line.process === process) &&
    LEVELS.indexOf(line.severity) <= LEVELS.indexOf(level) &&
    (!text || line.text.toLowerCase().includes(text.toLowerCase()))
  );
}

export class Logs {
  lines = $state.raw<ShownLine[]>([]);
  state = $state<'loading' | 'ready' | 'failed'>('loading');
  problem = $state('');
  /** The run of the server whose lines these are. */
  #run = 0;
  #levels = new Map<string, Level>();

  /** The processes that have written. */
  get processes(): string[] {
    return [...new Set(this.lines.map((line) => line.process))].sort();
  }

  /** Reads on until the returned function is called. */
  follow(): () => void {
    let ended = false;
    const next = async () => {
      const more = document.visibilityState === 'visible' && (await this.read());
      if (!ended) timer = setTimeout(() => void next(), more ? 0 : PAUSE_MS);
    };
    // Later, so that an effect that calls this does not depend on the lines.
    let timer = setTimeout(() => void next());
    return () => {
      ended = true;
      clearTimeout(timer);
    };
  }

  /** Reads what is new. Returns whether there is more. */
  async read(): Promise<boolean> {
    const last = this.lines.at(-1)?.number;
    const query = last === undefined ? '' : `&after=${last}`;
    try {
      const answer = await call<LogLines>(`/admin/v1/logs?limit=${FIRST}${query}`);
      this.#take(answer);
      [this.state, this.problem] = ['ready', ''];
      return last !== undefined && answer.lines.length === FIRST;
    } catch (error) {
      [this.state, this.problem] = ['failed', reason(error)];
      return false;
    }
  }

  #take({ lines, since_ms: run, has_gap }: LogLines): void {
    if (has_gap) this.lines = [];
    if (run !== this.#run) {
      // Another run of the server counts anew: the lines behind that number are not all there are.
      const isFirst = this.#run === 0;
      this.#run = run;
      this.#levels.clear();
      this.lines = [];
      if (!isFirst) return;
    }
    if (lines.length > 0) this.lines = [...this.lines, ...withLevels(lines, this.#levels)].slice(-MOST);
  }
}
