// Requests to this server: its key or session, its errors, and a second try while the gateway is replaced.

import { session } from './session.svelte';

/** A refusal by the server, in its own words. */
export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
    /** The field that is wrong. */
    readonly param: string | null,
    /** Seconds until another try makes sense. */
    readonly wait: number | null,
  ) {
    super(message);
  }
}

/** The server does not answer. */
export class Unreachable extends Error {}

/** Pauses between tries, in milliseconds. A gateway is replaced within a second or two. */
const PAUSES = [250, 750, 1500];

export interface Options {
  method?: string;
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  /** Everybody may send it. Any other request waits, where the server asks who this is, until somebody has signed in. */
  anyone?: boolean;
}

/** Without it no session counts. Pages of other origins cannot send it. */
const PAGE = 'x-mlxd-page';

/** The response to a request that succeeded. Reads are tried again while the server does not answer. */
export async function send(path: string, options: Options = {}): Promise<Response> {
  for (;;) {
    const response = await once(path, options);
    if (response.ok) return response;
    const problem = await refusal(response);
    if (response.status !== 401 || options.anyone) throw problem;
    await session.needed(options.signal);
  }
}

async function once(path: string, options: Options): Promise<Response> {
  const method = options.method ?? (options.body === undefined ? 'GET' : 'POST');
  const headers: Record<string, string> = { ...options.headers, [PAGE]: '1' };
  if (session.key) headers.authorization = `Bearer ${session.key}`;
  const init: RequestInit = { method, headers, cache: 'no-store' };
  if (options.signal) init.signal = options.signal;
  if (options.body !== undefined) {
    headers['content-type'] = 'application/json';
    init.body = JSON.stringify(options.body);
  }
  return connect(path, init, method === 'GET' || method === 'PUT');
}

async function connect(path: string, init: RequestInit, again: boolean): Promise<Response> {
  for (const pause of again ? [...PAUSES, null] : [null]) {
    try {
      const response = await fetch(path, init);
      session.reachable = true;
      return response;
    } catch (error) {
      if (init.signal?.aborted) throw error;
      if (pause !== null) await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }
  session.reachable = false;
  throw new Unreachable('the server does not answer');
}

/** Reads the error of any of the server's protocols. */
async function refusal(response: Response): Promise<ApiError> {
  const body: unknown = await response.json().catch(() => null);
  const problem = (body ?? {}) as { detail?: string; param?: string; error?: { message?: string; param?: string } };
  const message = problem.detail ?? problem.error?.message ?? `${response.status} ${response.statusText}`;
  const wait = response.status === 429 ? Number(response.headers.get('retry-after') ?? 0) : 0;
  return new ApiError(message, response.status, problem.param ?? problem.error?.param ?? null, wait || null);
}

/** The JSON of a response. */
export async function call<T>(path: string, options: Options = {}): Promise<T> {
  return (await (await send(path, options)).json()) as T;
}

/** The sentence to show for a failure. */
export function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
