// Runs measurements from the page and keeps their reports in this browser.

import { call, reason, send } from './api';
import { figures, PROBE, words, wordsFor, type Plan, type Report, type Row, type Sample } from './bench';
import { fleet } from './fleet.svelte';
import { newId } from './ids';
import { events } from './sse';

const STORED = 'mlxd.bench';
/** Reports that the browser keeps. */
export const KEPT = 50;

interface Chunk {
  choices?: { index: number; text?: string }[];
  usage?: { prompt_tokens: number; completion_tokens: number } | null;
  error?: { message: string };
}

export interface Step {
  /** Null while the model is loaded. */
  context: number | null;
  streams: number;
  done: number;
  all: number;
}

/** Sends all prompts at once and generates exactly `tokens` tokens after each. One request has them all: a browser has few connections. */
async function complete(model: string, prompts: string[], tokens: number, signal: AbortSignal): Promise<Sample[]> {
  const sent = performance.now();
  const limits = { max_tokens: tokens, min_tokens: tokens, ignore_eos: true, temperature: 0 };
  const body = { model, prompt: prompts, ...limits, stream: true, stream_options: { include_usage: true } };
  const response = await send('/v1/completions', { body, signal });
  if (!response.body) throw new Error('the answer has no body');
  const times = prompts.map((): { first: number | null; last: number } => ({ first: null, last: 0 }));
  let usage: Chunk['usage'] = null;
  for await (const event of events(response.body)) {
    if (event.name === ':' || event.data === '[DONE]') continue;
    const chunk = JSON.parse(event.data) as Chunk;
    if (chunk.error) throw new Error(chunk.error.message);
    const now = performance.now() - sent;
    for (const { index, text } of chunk.choices ?? []) {
      const time = times[index];
      if (!text || !time) continue;
      time.first ??= now;
      time.last = now;
    }
    usage = chunk.usage ?? usage;
  }
  if (!usage || times.some((time) => time.first === null)) throw new Error('the answer ends without text and token counts');
  const { prompt_tokens, completion_tokens } = usage;
  const each = { prompt_tokens: prompt_tokens / prompts.length, output_tokens: completion_tokens / prompts.length };
  return times.map(({ first, last }) => ({ first: first ?? last, last, ...each }));
}

class Bench {
  reports = $state.raw<Report[]>(stored());
  step = $state<Step | null>(null);
  problem = $state('');
  /** Lengths of prompts that did not fit into the model's context. */
  leftOut = $state<number[]>([]);
  cancelled = $state(false);
  #control: AbortController | null = null;

  /** Measures, and keeps the report. */
  async run(plan: Plan): Promise<Report | null> {
    const control = new AbortController();
    this.#control = control;
    [this.problem, this.leftOut, this.cancelled] = ['', [], false];
    try {
      const rows = await this.#measure(plan, control.signal);
      return rows.length > 0 ? await this.#keep(plan, rows) : null;
    } catch (error) {
      if (control.signal.aborted) this.cancelled = true;
      else this.problem = reason(error);
      return null;
    } finally {
      this.step = null;
    }
  }

  /** Ends the requests, here and at the worker. */
  cancel(): void {
    this.#control?.abort();
  }

  async #measure({ model, contexts, streams, tokens }: Plan, signal: AbortSignal): Promise<Row[]> {
    const all = contexts.length * streams.length;
    this.step = { context: null, streams: 1, done: 0, all };
    // The first request loads the model, the second one meets a model that has worked.
    await complete(model, ['a'], 2, signal);
    const [probe] = await complete(model, [words(PROBE, newId())], 2, signal);
    const limit = this.limitOf(model);
    const fitting = contexts.filter((context) => limit === null || context + tokens <= limit);
    this.leftOut = contexts.filter((context) => !fitting.includes(context));
    const rows: Row[] = [];
    for (const context of fitting) {
      const length = wordsFor(context, probe?.prompt_tokens ?? PROBE);
      for (const count of streams) {
        this.step = { context, streams: count, done: rows.length, all: fitting.length * streams.length };
        const prompts = Array.from({ length: count }, () => words(length, newId()));
        rows.push(figures(context, await complete(model, prompts, tokens, signal), await memoryOf(model)));
      }
    }
    return rows;
  }

  /** The tokens that a model takes in all; null if that is not known. */
  limitOf(model: string): number | null {
    return fleet.listed.find((one) => one.id === model)?.context_length ?? null;
  }

  async #keep({ model, tokens }: Plan, rows: Row[]): Promise<Report> {
    const { version } = await call<{ version: string }>('/health');
    const machine_memory = fleet.pool?.physical_bytes ?? 0;
    const created = Math.round(Date.now() / 1000);
    const report = { created, mlxd: version, system: navigator.platform, machine_memory, model, tokens, rows };
    this.#store([report, ...this.reports].slice(0, KEPT));
    return report;
  }

  forget(report: Report): void {
    this.#store(this.reports.filter((other) => other !== report));
  }

  #store(reports: Report[]): void {
    this.reports = reports;
    localStorage.setItem(STORED, JSON.stringify(reports));
  }
}

/** The footprint and the lease of a model's workers, in bytes; zero where the key may not see them. */
async function memoryOf(model: string): Promise<{ footprint: number; lease: number }> {
  if (fleet.admin) await fleet.refresh().catch(() => undefined);
  const workers = fleet.models.find((one) => one.id === model)?.workers ?? [];
  const all = (value: (one: (typeof workers)[number]) => number) => workers.reduce((sum, one) => sum + value(one), 0);
  return { footprint: all((one) => one.footprint_bytes), lease: all((one) => one.lease_bytes) };
}

function stored(): Report[] {
  try {
    const reports: unknown = JSON.parse(localStorage.getItem(STORED) ?? '[]');
    return Array.isArray(reports) ? (reports as Report[]).filter((one) => Array.isArray(one?.rows)) : [];
  } catch {
    return [];
  }
}

export const bench = new Bench();
