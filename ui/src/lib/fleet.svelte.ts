// The models and their states, from the same events as the command line's.

import { ApiError, call, reason, send } from './api';
import { events } from './sse';
import type { AdminModel, ListedModel, ModelChange, Pool } from './types';

const RECONNECT_MS = 1500;
const FALLBACK_MS = 8000;

class Fleet {
  /** Every model of this machine, by id; empty without the scope `admin-read`. */
  models = $state<AdminModel[]>([]);
  /** What can be asked: models, aliases, providers' models, routes. */
  listed = $state<ListedModel[]>([]);
  pool = $state<Pool | null>(null);
  state = $state<'loading' | 'ready' | 'failed'>('loading');
  problem = $state('');
  /** Whether the key opens the admin API. */
  admin = $state(true);
  #stop: AbortController | null = null;

  /** Models that can chat. */
  get chatModels(): ListedModel[] {
    return this.listed.filter((model) => model.details?.modality !== 'embeddings' && model.details?.modality !== 'rerank');
  }

  /** The state of a listed model, from the events where there are any. */
  stateOf(name: string): AdminModel | ListedModel | undefined {
    const own = this.models.find((model) => model.id === name || model.aliases.includes(name));
    return own ?? this.listed.find((model) => model.id === name);
  }

  /** Whether a model says that it takes images. */
  takesImages(name: string): boolean {
    return this.listed.find((model) => model.id === name)?.details?.capabilities.vision === true;
  }

  /** Begins anew, as with another key. */
  connect(): void {
    this.#stop?.abort();
    const control = new AbortController();
    this.#stop = control;
    void this.#follow(control.signal);
  }

  async #follow(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      let pause = RECONNECT_MS;
      try {
        await this.refreshList();
        await this.#read(signal);
      } catch (error) {
        if (signal.aborted) return;
        this.problem = reason(error);
        if (error instanceof ApiError && error.status === 403) {
          this.admin = false;
          this.state = 'ready';
          pause = FALLBACK_MS;
        } else if (this.models.length === 0) this.state = 'failed';
      }
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }

  async #read(signal: AbortSignal): Promise<void> {
    const response = await send('/admin/v1/events', { signal });
    this.admin = true;
    if (!response.body) return;
    for await (const event of events(response.body)) {
      if (event.name === 'models') {
        this.models = JSON.parse(event.data) as AdminModel[];
        this.state = 'ready';
      } else if (event.name === 'change') this.#change(JSON.parse(event.data) as ModelChange);
      else if (event.name === 'files') await this.refresh();
      else if (event.name === 'pressure') await this.refreshPool();
    }
  }

  #change(change: ModelChange): void {
    const model = this.models.find((one) => one.id === change.model);
    if (!model) return;
    model.state = change.state;
    model.loaded_bytes = change.loaded_bytes ?? 0;
    model.total_bytes = change.total_bytes ?? 0;
    model.reason = change.reason ?? '';
    if (change.state !== 'loading') void this.refresh().catch(() => undefined);
  }

  async refreshList(): Promise<void> {
    this.listed = (await call<{ data: ListedModel[] }>('/v1/models')).data;
  }

  /** Reads all models and the pool again: the events say nothing of requests and idle times. */
  async refresh(): Promise<void> {
    const [{ models }] = await Promise.all([
      call<{ models: AdminModel[] }>('/admin/v1/models'),
      this.refreshPool(),
      this.refreshList(),
    ]);
    this.models = models;
  }

  /** Unloads a model and removes it from disk. */
  async remove(id: string): Promise<void> {
    await send(`/admin/v1/models/${encodeURIComponent(id)}`, { method: 'DELETE' });
    await this.refresh();
  }

  async refreshPool(): Promise<void> {
    this.pool = await call<Pool>('/admin/v1/pool');
  }

  /** An order to a model; the answer is its new form. */
  async order(id: string, what: 'load' | 'unload' | 'restart' | 'pin', body: object = {}): Promise<void> {
    const model = await call<AdminModel>(`/admin/v1/models/${encodeURIComponent(id)}/${what}`, { body });
    this.models = this.models.map((one) => (one.id === model.id ? model : one));
    await this.refreshPool();
  }
}

export const fleet = new Fleet();
