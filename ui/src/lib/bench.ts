// What a measurement is: the prompts, the figures, and their report, as `mlxd bench` has them. A test compares both. Pure functions.

/** Frequent words, as in cli/src/bench/prompt.rs: most tokenizers have one token for each with its space. */
const WORDS = (
  'the time water of and house to in is you that it he was for on are with as his they at be this from have or by one had ' +
  'not but what all were when we there can an your which their said if do will each'
).split(' ');
/** Words of the prompt that shows how many tokens a word takes. */
export const PROBE = 200;

/** The times of one answer in milliseconds since the requests were sent, and its counts. */
export interface Sample {
  first: number;
  last: number;
  prompt_tokens: number;
  output_tokens: number;
}

/** The figures of requests that were sent at once, named as in a report of `mlxd bench`. */
export interface Row {
  context: number;
  streams: number;
  prompt_tokens: number;
  ttft_ms: number;
  slowest_ttft_ms: number;
  prefill_per_second: number;
  decode_per_second: number;
  all_per_second: number;
  footprint_bytes: number;
  lease_bytes: number;
}

/** A measurement, in the form of a report of `mlxd bench`. */
export interface Report {
  /** Seconds since the epoch. */
  created: number;
  mlxd: string;
  system: string;
  machine_memory: number;
  model: string;
  tokens: number;
  rows: Row[];
}

export interface Plan {
  model: string;
  contexts: number[];
  streams: number[];
  tokens: number;
}

/** A text of this many words, the first of which is in no other text. */
export function words(count: number, first: string): string {
  const rest = Array.from({ length: count - 1 }, () => WORDS[Math.floor(Math.random() * WORDS.length)]);
  return [first, ...rest].join(' ');
}

/** The words for a prompt of `tokens`, if a probe of [`PROBE`] words has `probed` tokens. */
export function wordsFor(tokens: number, probed: number): number {
  return Math.max(1, Math.floor((tokens * PROBE) / Math.max(1, probed)));
}

/** Whole numbers that a field lists with commas; null if one of them is none, or out of bounds. */
export function numbers(text: string, min: number, max: number): number[] | null {
  const items = text.split(/[\s,;]+/).filter((item) => item !== '');
  const found = items.map(Number);
  const fits = found.every((one) => Number.isInteger(one) && one >= min && one <= max);
  return fits && found.length > 0 ? [...new Set(found)] : null;
}

/** The figures of requests that were sent at once. */
export function figures(context: number, samples: Sample[], memory: { footprint: number; lease: number }): Row {
  const firsts = samples.map((sample) => sample.first);
  const slowest = Math.max(0, ...firsts);
  const prompts = sum(samples.map((sample) => sample.prompt_tokens));
  const output = sum(samples.map((sample) => sample.output_tokens));
  // The first token is the prefill's.
  const rates = samples.map(({ first, last, output_tokens }) => Math.max(0, output_tokens - 1) / seconds(last - first));
  const decoding = Math.max(...samples.map((sample) => sample.last)) - Math.min(...firsts);
  return {
    context,
    streams: samples.length,
    prompt_tokens: Math.floor(prompts / Math.max(1, samples.length)),
    ttft_ms: rounded(median(firsts)),
    slowest_ttft_ms: rounded(slowest),
    prefill_per_second: rounded(prompts / seconds(slowest)),
    decode_per_second: rounded(median(rates)),
    all_per_second: rounded(output / seconds(decoding)),
    footprint_bytes: memory.footprint,
    lease_bytes: memory.lease,
  };
}

const sum = (values: number[]): number => values.reduce((all, one) => all + one, 0);
const seconds = (ms: number): number => Math.max(ms / 1000, 1e-6);
/** One decimal. */
const rounded = (value: number): number => Math.round(value * 10) / 10;

function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const [below, above] = [sorted[middle - 1] ?? 0, sorted[middle] ?? 0];
  return sorted.length % 2 === 1 ? above : (below + above) / 2;
}

/** A change in percent; empty if it is noise, or there was nothing before. */
export function change(before: number | undefined, after: number): string {
  if (!before || Math.abs(after - before) / before < 0.05) return '';
  const percent = Math.round(((after - before) / before) * 100);
  return `${percent > 0 ? '+' : ''}${percent} %`;
}
