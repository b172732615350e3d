// The server's JSON types. `@schema NAME` names the schema of /openapi.json that must have every field of an interface;
// a test of the gateway compares them.

export type StateName = 'stopped' | 'queued' | 'loading' | 'ready' | 'draining' | 'failed';

/** The state of a model, in every form of it. */
export interface ModelState {
  state: StateName;
  loaded_bytes?: number;
  total_bytes?: number;
  reason?: string;
}

/** @schema Capabilities */
export interface Capabilities {
  chat: boolean;
  tools: boolean;
  reasoning: boolean;
  vision: boolean;
  embeddings: boolean;
}

/** @schema ModelDetails */
export interface ModelDetails {
  backend?: string;
  architecture: string;
  modality: string;
  supported: boolean;
  parameters: number;
  quantization: string;
  context: number | null;
  capabilities: Capabilities;
  weight_bytes: number;
  kv_bytes_per_token: number;
  problem?: string;
  chat_problem?: string;
}

/** @schema ModelWorker */
export interface Worker {
  incarnation: number;
  pid: number | null;
  state: string;
  footprint_bytes: number;
  lease_bytes: number;
  running: number;
  waiting: number;
  steps: number;
  idle_ms: number | null;
  expires_ms: number | null;
}

/** @schema Exit */
export interface Exit {
  at: number;
  status: string;
  expected: boolean;
  last_words: string[];
}

/** @schema AdminModel */
export interface AdminModel extends ModelState {
  id: string;
  aliases: string[];
  pinned: boolean;
  waiting: number;
  file_bytes: number;
  details: ModelDetails;
  workers: Worker[];
  last_exit: Exit | null;
}

/** @schema RemovedModel */
export interface RemovedModel {
  model: string;
  folder: string;
  freed_bytes: number;
  shared_bytes: number;
  is_link: boolean;
}

/** @schema Lease */
export interface Lease {
  model: string;
  incarnation: number;
  bytes: number;
  weights: number;
  kv: number;
  transient: number;
  footprint: number;
}

/** @schema MemoryPool */
export interface Pool {
  budget_bytes: number;
  leased_bytes: number;
  measured_bytes: number;
  physical_bytes: number;
  available_bytes: number;
  pressure: 'normal' | 'warn' | 'critical';
  leases: Lease[];
  queue: string[];
  evictions: number;
  unknown_models: string[];
  hidden_models: string[];
  recoveries: number;
  given_up: number;
}

/** @schema LogLine */
export interface LogLine {
  number: number;
  process: string;
  at_ms: number | null;
  level: 'ERROR' | 'WARN' | 'INFO' | 'DEBUG' | 'TRACE' | null;
  text: string;
}

/** @schema LogLines */
export interface LogLines {
  lines: LogLine[];
  since_ms: number;
  has_gap: boolean;
}

/** @schema ServerSettings */
export interface ServerSettings {
  revision: string;
  settings: ServerSetting[];
  has_api_keys: boolean;
  has_master_key: boolean;
}

/** @schema ServerSetting */
export interface ServerSetting {
  name: string;
  value: string | number | boolean | string[] | null;
  default: string | number | boolean | string[] | null;
  source: 'default' | 'file' | 'environment' | 'flag';
  place: string | null;
  effect: 'at_once' | 'next_load' | 'next_server';
  is_pending: boolean;
}

/** @schema ModelChange */
export interface ModelChange extends ModelState {
  revision: number;
  at_ms: number;
  model: string;
  ready: number;
  note: string;
}

export type Priority = 'low' | 'normal' | 'high';

/** @schema ModelSettings */
export interface ModelSettings {
  aliases: string[];
  context: number | null;
  kv_mib: number | null;
  max_batch: number | null;
  pin: boolean;
  preload: boolean;
  idle_seconds: number | null;
  priority: Priority;
  replicas: number;
  draft_tokens: number;
  draft_model: string | null;
  adapter: string | null;
  tool_format: string | null;
  reasoning_format: string | null;
  sanitize_control_tokens: boolean;
}

/** @schema EffectiveSettings */
export interface EffectiveSettings extends ModelSettings {
  restart_needed?: string[];
}

/** @schema RequestRecord */
export interface RequestRecord {
  id: string;
  started_at_ms: number;
  endpoint: string;
  model: string;
  used_model: string | null;
  backend: string | null;
  route: string | null;
  fallback_reason: string | null;
  attempts: number;
  recoveries: number;
  streamed: boolean;
  status: 'finished' | 'failed' | 'cancelled';
  error: string | null;
  prompt_tokens: number;
  cached_tokens: number;
  completion_tokens: number;
  reasoning_tokens: number;
  first_token_ms: number | null;
  total_ms: number;
  key_id: string | null;
  key_name: string | null;
  sender: string | null;
  session: string | null;
  notes: string | null;
  cost_usd: number | null;
}

/** @schema RequestRecords */
export interface RequestRecords {
  requests: RequestRecord[];
  next: string | null;
}

/** @schema RequestDetail */
export interface RequestDetail extends RequestRecord {
  trace: RouteTrace | null;
}

/** @schema RouteTrace */
export interface RouteTrace {
  route: string | null;
  targets: string[];
  steps: RouteStep[];
  reasons: string[];
}

/** @schema RouteStep */
export interface RouteStep {
  route: string;
  matched: boolean;
  because: string | null;
  judged?: RouteJudgement[];
}

/** @schema RouteJudgement */
export interface RouteJudgement {
  condition: 'sentence' | 'similar';
  model: string;
  holds: boolean | null;
  similarity: number | null;
  problem: string | null;
  ms: number;
  prompt_tokens: number;
  completion_tokens: number;
}

/** @schema RouteDecision */
export interface Decision {
  route: string | null;
  targets: string[];
  steps: RouteStep[];
}

/** @schema ApiKey */
export interface ApiKey {
  id: string;
  name: string;
  status: 'active' | 'expired' | 'revoked';
  last_four: string;
  scopes: string[];
  models: string[];
  local_only: boolean;
  priority: Priority | null;
  requests_per_minute: number | null;
  tokens_per_minute: number | null;
  tokens_per_day: number | null;
  tokens_per_month: number | null;
  cost_per_day: number | null;
  cost_per_month: number | null;
  store_content: boolean;
  created_at: number;
  expires_at: number | null;
  last_used_at: number | null;
  revoked_at: number | null;
}

/** @schema NewKey */
export interface NewKey extends ApiKey {
  secret: string;
}

/** @schema ChatSummary */
export interface ChatSummary {
  id: string;
  title: string;
  pinned: boolean;
  folder: string;
  created_at_ms: number;
  updated_at_ms: number;
  revision: number;
}

/** @schema ChatSummaries */
export interface ChatSummaries {
  chats: ChatSummary[];
  next: string | null;
}

/** @schema ChatFolder */
export interface ChatFolder {
  id: string;
  name: string;
  chats: number;
}

/** @schema ChatFolders */
export interface ChatFolders {
  folders: ChatFolder[];
}

/** @schema ChatPreset */
export interface ChatPreset {
  id: string;
  name: string;
  body: unknown;
}

/** @schema ChatPresets */
export interface ChatPresets {
  presets: ChatPreset[];
}

/** A model of GET /v1/models that can be asked: one on this machine, an alias, a provider's or a route. */
export interface ListedModel {
  id: string;
  owned_by: string;
  state?: StateName;
  details?: ModelDetails;
  context_length?: number;
}

/** @schema ModelPrice */
export interface Price {
  input: number;
  cached_input?: number | null;
  output: number;
  since?: string | null;
}

/** @schema ProviderModelTable */
export interface ProviderModel {
  id: string;
  alias: string | null;
  context: number | null;
  max_output: number | null;
  price?: Price[];
}

export type ProviderKind = 'openai' | 'openai-compatible' | 'anthropic';

/** @schema Provider */
export interface Provider {
  name: string;
  source: 'config' | 'database';
  kind: ProviderKind;
  url: string;
  has_key: boolean;
  last_four: string | null;
  headers: Record<string, string>;
  models: ProviderModel[];
  timeout_seconds: number;
  idle_seconds: number | null;
  allow_link_local: boolean;
  enabled: boolean;
  problem: string | null;
}

/** @schema DiscoveredModel */
export interface DiscoveredModel {
  id: string;
  context: number | null;
}

/** @schema ProviderTest */
export interface ProviderTest {
  ok: boolean;
  problem: string | null;
  listed_models: number;
  missing_models: string[];
  models: DiscoveredModel[];
  elapsed_ms: number | null;
}

export type LocalState = 'ready' | 'loadable' | 'would_evict' | 'unusable';

/** @schema RouteTokens */
export interface TokenRange {
  min: number | null;
  max: number | null;
}

/** @schema RouteLocalModel */
export interface LocalCondition {
  model: string;
  state: LocalState;
}

/** @schema RouteExamples */
export interface Similar {
  examples: string[];
  at_least: number;
  model?: string | null;
}

/** @schema RouteShare */
export interface Share {
  model: string;
  weight: number;
}

/** @schema Route */
export interface Route {
  name?: string;
  model?: string;
  model_regex?: string;
  has_tools?: boolean;
  has_images?: boolean;
  prompt_tokens?: TokenRange;
  keys?: string[];
  headers?: Record<string, string>;
  metadata?: Record<string, string>;
  local?: LocalCondition;
  time?: string;
  similar?: Similar;
  sentence?: string;
  judge?: string;
  targets?: string[];
  split?: Share[];
  first_token_seconds?: number;
  local_only?: boolean;
}

/** @schema Routes */
export interface RouteLists {
  revision: number;
  configured: Route[];
  routes: Route[];
}

export type DownloadState = 'queued' | 'running' | 'paused' | 'done' | 'failed';

export interface Download {
  id: string;
  model: string;
  revision: string;
  state: DownloadState;
  bytes_done: number;
  bytes_total: number | null;
  bytes_per_second: number;
  seconds_left: number | null;
  priority: Priority;
  error: string | null;
  note?: string | null;
  created_at: number;
}

/** A model on the hub, with what this machine makes of it. */
export interface FoundModel {
  id: string;
  family: string | null;
  weight_bytes: number | null;
  memory_bytes: number | null;
  verdict: 'fits' | 'too_large' | 'not_served' | 'unknown';
  reason: string | null;
  gated: boolean;
  license: string | null;
  task: string | null;
  downloads: number;
  likes: number;
  last_modified: string | null;
}

/** @schema Access */
export interface Access {
  /** How this tab is let in; null if it is not. */
  by: 'key' | 'session' | 'loopback' | null;
  scopes: string[];
  key: string | null;
  session: string | null;
  has_password: boolean;
}

/** @schema Session */
export interface BrowserSession {
  id: string;
  name: string;
  created_at: number;
  last_used_at: number;
  expires_at: number;
  is_current: boolean;
}
