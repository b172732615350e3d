// What the form of a route holds, and what the server takes. Pure functions.

import type { LocalState, Route, Share, Similar } from './types';

export const LOCAL_STATES: LocalState[] = ['ready', 'loadable', 'would_evict', 'unusable'];

/** The least cosine where a form names none. */
export const DEFAULT_NEARNESS = 0.6;

type Presence = '' | 'with' | 'without';

export interface RouteDraft {
  name: string;
  match: 'any' | 'model' | 'model_regex';
  pattern: string;
  tools: Presence;
  images: Presence;
  min: number | null;
  max: number | null;
  /** Names of API keys, with commas between them. */
  keys: string;
  /** `name: value` in each line. */
  headers: string;
  metadata: string;
  localModel: string;
  localState: LocalState;
  from: string;
  to: string;
  sentence: string;
  judge: string;
  /** One in each line: the form has no place for line breaks in them. */
  examples: string;
  atLeast: number | null;
  vectors: string;
  split: { model: string; weight: number | null }[];
  targets: string[];
  first: number | null;
  localOnly: boolean;
}

/** `name: value` in each line. */
export function pairs(text: string): Record<string, string> {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  return Object.fromEntries(
    lines.map((line) => {
      const [name = '', ...value] = line.split(':');
      return [name.trim(), value.join(':').trim()];
    }),
  );
}

/** The lines that `pairs` reads. */
export const linesOf = (values: Record<string, string> = {}): string =>
  Object.entries(values)
    .map(([name, value]) => `${name}: ${value}`)
    .join('\n');

/** The lines of a text that say something. */
export const linesIn = (text: string): string[] =>
  text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');

/** The examples of a form, as the server takes them. */
const similarOf = ({ examples, atLeast, vectors }: RouteDraft): Similar => ({
  examples: linesIn(examples),
  at_least: atLeast ?? DEFAULT_NEARNESS,
  ...(vectors.trim() ? { model: vectors.trim() } : {}),
});

const presence = (value: boolean | undefined): Presence => (value === undefined ? '' : value ? 'with' : 'without');

export function draftOf(route: Route | null): RouteDraft {
  const { name, model, model_regex, prompt_tokens, local, time, similar, targets, split } = route ?? {};
  const [from = '', to = ''] = time?.split('-') ?? [];
  return {
    name: name ?? '',
    match: model_regex !== undefined ? 'model_regex' : model !== undefined || !route ? 'model' : 'any',
    pattern: model_regex ?? model ?? '',
    tools: presence(route?.has_tools),
    images: presence(route?.has_images),
    min: prompt_tokens?.min ?? null,
    max: prompt_tokens?.max ?? null,
    keys: (route?.keys ?? []).join(', '),
    headers: linesOf(route?.headers),
    metadata: linesOf(route?.metadata),
    localModel: local?.model ?? '',
    localState: local?.state ?? 'ready',
    from,
    to,
    sentence: route?.sentence ?? '',
    judge: route?.judge ?? '',
    examples: (similar?.examples ?? []).map((example) => example.replaceAll(/\s*\n\s*/g, ' ')).join('\n'),
    atLeast: similar?.at_least ?? null,
    vectors: similar?.model ?? '',
    split: [...(split ?? [])],
    targets: targets?.length ? [...targets] : split?.length ? [] : [''],
    first: route?.first_token_seconds ?? null,
    localOnly: route?.local_only ?? false,
  };
}

export function routeOf(draft: RouteDraft): Route {
  const [headers, metadata] = [pairs(draft.headers), pairs(draft.metadata)];
  const keys = draft.keys.split(',').map((name) => name.trim()).filter((name) => name !== '');
  const targets = draft.targets.map((name) => name.trim()).filter((name) => name !== '');
  const named = draft.split.filter((share) => share.model.trim() !== '');
  const split: Share[] = named.map(({ model, weight }) => ({ model: model.trim(), weight: weight ?? 1 }));
  return {
    ...(draft.name.trim() ? { name: draft.name.trim() } : {}),
    ...(draft.match === 'any' ? {} : { [draft.match]: draft.pattern.trim() }),
    ...(draft.tools ? { has_tools: draft.tools === 'with' } : {}),
    ...(draft.images ? { has_images: draft.images === 'with' } : {}),
    ...(draft.min !== null || draft.max !== null ? { prompt_tokens: { min: draft.min, max: draft.max } } : {}),
    ...(keys.length > 0 ? { keys } : {}),
    ...(Object.keys(headers).length > 0 ? { headers } : {}),
    ...(Object.keys(metadata).length > 0 ? { metadata } : {}),
    ...(draft.localModel.trim() ? { local: { model: draft.localModel.trim(), state: draft.localState } } : {}),
    ...(draft.from && draft.to ? { time: `${draft.from}-${draft.to}` } : {}),
    ...(linesIn(draft.examples).length > 0 ? { similar: similarOf(draft) } : {}),
    ...(draft.sentence.trim() ? { sentence: draft.sentence.trim() } : {}),
    ...(draft.sentence.trim() && draft.judge.trim() ? { judge: draft.judge.trim() } : {}),
    ...(targets.length > 0 ? { targets } : {}),
    ...(split.length > 0 ? { split } : {}),
    ...(draft.first !== null ? { first_token_seconds: draft.first } : {}),
    ...(draft.localOnly ? { local_only: true } : {}),
  };
}

/** The name of a route in headers and traces, as the server gives it. `place` counts from 0 over all routes. */
export function titleOf(route: Route, place: number): string {
  return route.name ?? route.model ?? route.model_regex ?? `route ${place + 1}`;
}

/** Every model that a route may ask. */
export function modelsOf(route: Route): string[] {
  return [...(route.split ?? []).map((share) => share.model), ...(route.targets ?? [])];
}

/** A list with one item in another place. */
export function moved<T>(list: T[], from: number, to: number): T[] {
  const rest = list.filter((_, place) => place !== from);
  const item = list[from];
  return item === undefined ? list : rest.toSpliced(to, 0, item);
}
