// Reads a streamed chat completion into a turn.

import { send } from './api';
import type { AnswerRequest, Statistics, Turn } from './conversation';
import { events } from './sse';

interface Delta {
  content?: string | null;
  reasoning_content?: string | null;
  tool_calls?: { index: number; id?: string; function?: { name?: string; arguments?: string } }[];
}

interface Chunk {
  choices?: { delta?: Delta; finish_reason?: string | null }[];
  usage?: {
    prompt_tokens: number;
    completion_tokens: number;
    prompt_tokens_details?: { cached_tokens?: number };
    completion_tokens_details?: { reasoning_tokens?: number };
  } | null;
  timings?: { predicted_per_second?: number; prompt_ms?: number };
  error?: { message: string };
}

export interface Listener {
  /** A comment of the server, such as `loading 40 %`. */
  note: (text: string) => void;
  /** The answer so far, at most twenty times a second. */
  update: (turn: Turn) => void;
}

const UPDATE_MS = 50;

/** When the text of an answer began and how long it reasoned, in milliseconds since the epoch. */
class Clock {
  readonly start = performance.now();
  first: number | null = null;
  reasoningEnd: number | null = null;

  token(isReasoning: boolean): void {
    const now = performance.now();
    this.first ??= now;
    if (!isReasoning) this.reasoningEnd ??= now;
  }
}

/** Sends a request and reads its stream to the end. `turn` is the listener's to keep: it gets copies. */
export async function answer(request: AnswerRequest, turn: Turn, listener: Listener, signal: AbortSignal): Promise<void> {
  const clock = new Clock();
  const headers = { 'idempotency-key': request.key };
  const response = await send('/v1/chat/completions', { body: request.body, headers, signal });
  // A stream that is read again begins with its beginning.
  const { reasoning: _, calls: __, ...rest } = turn;
  const draft: Turn = { ...rest, text: request.before };
  let [ended, shown] = [false, 0];
  if (!response.body) throw new Error('the answer has no body');
  try {
    for await (const event of events(response.body)) {
      if (event.name === ':') listener.note(event.data);
      else if (event.data === '[DONE]') ended = true;
      else take(JSON.parse(event.data) as Chunk, draft, clock);
      if (performance.now() - shown < UPDATE_MS) continue;
      listener.update(draft);
      shown = performance.now();
    }
  } finally {
    listener.update(draft);
  }
  if (!ended) throw new Error('the answer broke off');
}

function take(chunk: Chunk, turn: Turn, clock: Clock): void {
  if (chunk.error) throw new Error(chunk.error.message);
  const choice = chunk.choices?.[0];
  const { content, reasoning_content: reasoning, tool_calls: calls } = choice?.delta ?? {};
  if (reasoning) {
    clock.token(true);
    turn.reasoning = (turn.reasoning ?? '') + reasoning;
    turn.reasoned = performance.now() - (clock.first ?? clock.start);
  }
  if (content) {
    clock.token(false);
    turn.text += content;
  }
  for (const call of calls ?? []) {
    clock.token(false);
    turn.calls ??= [];
    const known = (turn.calls[call.index] ??= { id: '', name: '', arguments: '' });
    known.id = call.id ?? known.id;
    known.name += call.function?.name ?? '';
    known.arguments += call.function?.arguments ?? '';
  }
  if (choice?.finish_reason) turn.cut = choice.finish_reason === 'length';
  if (chunk.timings?.predicted_per_second) statistics(turn).rate = chunk.timings.predicted_per_second;
  if (chunk.usage) count(chunk.usage, statistics(turn), clock);
}

function statistics(turn: Turn): Statistics {
  turn.statistics ??= { prompt: 0, cached: 0, output: 0, reasoning: 0, rate: null, first: null };
  return turn.statistics;
}

function count(usage: NonNullable<Chunk['usage']>, into: Statistics, clock: Clock): void {
  into.prompt = usage.prompt_tokens;
  into.cached = usage.prompt_tokens_details?.cached_tokens ?? 0;
  into.output = usage.completion_tokens;
  into.reasoning = usage.completion_tokens_details?.reasoning_tokens ?? 0;
  into.first = clock.first === null ? null : clock.first - clock.start;
}
