// What the form of a provider holds, and what the server takes. Pure functions.

import { linesOf, pairs } from './routing';
import type { Price, Provider, ProviderKind, ProviderModel } from './types';

export const KINDS: ProviderKind[] = ['openai-compatible', 'openai', 'anthropic'];

/** An address of each kind, as an example. */
export const EXAMPLES: Record<ProviderKind, string> = {
  'openai-compatible': 'https://openrouter.ai/api/v1',
  openai: 'https://api.openai.com/v1',
  anthropic: 'https://api.anthropic.com',
};

/** A number field that is empty has null. */
export interface PriceDraft {
  input: number | null;
  cached_input: number | null;
  output: number | null;
  since: string;
}

export interface ModelDraft {
  id: string;
  alias: string;
  context: number | null;
  max_output: number | null;
  price: PriceDraft[];
}

export interface ProviderDraft {
  name: string;
  kind: ProviderKind;
  url: string;
  /** What was typed; empty keeps the stored key. */
  key: string;
  /** Whether the stored key is to go. */
  dropKey: boolean;
  /** `name: value` in each line. */
  headers: string;
  models: ModelDraft[];
  timeout_seconds: number | null;
  idle_seconds: number | null;
  allow_link_local: boolean;
  enabled: boolean;
}

export function emptyModel(id = '', context: number | null = null): ModelDraft {
  return { id, alias: '', context, max_output: null, price: [] };
}

export function emptyPrice(): PriceDraft {
  return { input: null, cached_input: null, output: null, since: '' };
}

export function draftOf(provider: Provider | null): ProviderDraft {
  if (!provider) {
    const empty = { name: '', url: '', key: '', dropKey: false, headers: '', timeout_seconds: null, idle_seconds: null, allow_link_local: false };
    return { ...empty, kind: 'openai-compatible', models: [emptyModel()], enabled: true };
  }
  const { name, kind, url, timeout_seconds, idle_seconds, allow_link_local, enabled } = provider;
  const models = provider.models.map((model) => ({
    ...model,
    alias: model.alias ?? '',
    price: (model.price ?? []).map((price) => ({
      ...price,
      cached_input: price.cached_input ?? null,
      since: price.since ?? '',
    })),
  }));
  const headers = linesOf(provider.headers);
  return { name, kind, url, key: '', dropKey: false, headers, models, timeout_seconds, idle_seconds, allow_link_local, enabled };
}

/** The body that makes or replaces a provider. `models` without an id are left out. */
export function orderOf(draft: ProviderDraft): Record<string, unknown> {
  const { name, kind, url, key, dropKey, headers, timeout_seconds, idle_seconds, allow_link_local, enabled } = draft;
  const models = draft.models.filter((model) => model.id.trim() !== '').map(modelOf);
  return {
    name: name.trim(),
    kind,
    url: url.trim(),
    headers: pairs(headers),
    models,
    allow_link_local,
    enabled,
    ...(timeout_seconds === null ? {} : { timeout_seconds }),
    ...(idle_seconds === null ? {} : { idle_seconds }),
    ...(key.trim() ? { api_key: key.trim() } : dropKey ? { api_key: null } : {}),
  };
}

function modelOf({ id, alias, context, max_output, price }: ModelDraft): ProviderModel {
  const prices = price.filter((one) => one.input !== null || one.output !== null);
  return {
    id: id.trim(),
    alias: alias.trim() || null,
    context,
    max_output,
    ...(prices.length > 0 ? { price: prices.map(priceOf) } : {}),
  };
}

function priceOf({ input, cached_input, output, since }: PriceDraft): Price {
  return {
    input: input ?? 0,
    output: output ?? 0,
    ...(cached_input === null ? {} : { cached_input }),
    ...(since ? { since } : {}),
  };
}

/** The price of a day such as 2026-11-29. */
export function priceOn(model: ProviderModel, day: string): Price | undefined {
  return model.price?.findLast((price) => !price.since || price.since <= day);
}
