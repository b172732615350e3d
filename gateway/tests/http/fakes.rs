//! A fake supervisor and a fake worker on real sockets, and a gateway in front of them. The prompt controls the worker.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use gateway::backends::local::LocalBackend;
use gateway::fleet::watch::FleetWatch;
use ipc_proto::embed::{EmbedRequest, Embeddings, Input, RerankRequest, Scores};
use ipc_proto::gateway::GatewayConfig;
use ipc_proto::generate::{ChoiceId, Delta, Event, FinishReason, Part, Priority, Prompt, Submission, Usage};
use ipc_proto::hub::{
    Download, DownloadChange, DownloadOrder, Downloads, FoundModel, HubQuery, RemovedModel,
};
use ipc_proto::prompt::{RenderedPrompt, TemplateUse, TokenizeRequest, Tokenized};
use ipc_proto::socket::{self, Channel};
use ipc_proto::stream::{StepFrame, StreamFrame, StreamId, WorkerEnd};
use ipc_proto::supervisor::{
    Changes, Details, KeepAlive, LiveSetting, LiveSettings, LogLine, LogLines, ModelEntry, ModelSettings,
    ModelState, Pool, Restart, SettingEffect, SettingSource, SettingsChange, SettingsOutcome, Supervisor,
    Want, WorkerAddress,
};
use ipc_proto::worker::{Accepted, Capacity, Health, LoadProgress, Memory, ModelInfo, ModelKind, Worker};
use ipc_proto::{Error, ErrorKind, Field, Origin, Resource, Result};
use tarpc::context::Context;
use tarpc::server::{BaseChannel, Channel as _};
use tempfile::TempDir;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{images, scoring, stack, verdicts};

type Frames = UnboundedSender<Option<StepFrame>>;

/// The capacity that the worker reports.
pub(crate) const CAPACITY: Capacity = Capacity { limit: 9, free: 4 };

/// The worker. Clones share its state.
#[derive(Clone, Default)]
struct FakeWorker {
    streams: Arc<Mutex<HashMap<StreamId, Frames>>>,
    cancelled: Arc<Mutex<Vec<ChoiceId>>>,
    scopes: Arc<Mutex<Vec<String>>>,
    priorities: Arc<Mutex<Vec<Priority>>>,
    /// What it was asked as a judge.
    judge: verdicts::Asked,
    /// The images that it was sent.
    images: images::Received,
    /// Calls that ended it.
    poisoned: Arc<AtomicUsize>,
    /// How often it died. Each death is followed by a new incarnation.
    deaths: Arc<AtomicU64>,
}

#[derive(Clone)]
struct FakeSupervisor {
    address: WorkerAddress,
    deaths: Arc<AtomicU64>,
    calls: Calls,
}

/// The calls that the supervisor has received.
#[derive(Clone, Default)]
struct Calls {
    asked: Arc<AtomicUsize>,
    kept: Arc<Mutex<Vec<KeepAlive>>>,
    /// Workers whose deaths requests are to blame for.
    excused: Arc<Mutex<Vec<u64>>>,
    settings: Arc<Mutex<ModelSettings>>,
    live: Arc<Mutex<LiveSettings>>,
    /// Whether there is only one model of each task.
    one_per_task: Arc<AtomicBool>,
    /// Whether there is a model `eyes` that reads images.
    has_eyes: Arc<AtomicBool>,
    /// Whether the supervisor answers nothing more about models and memory.
    silent: Arc<AtomicBool>,
}

impl FakeSupervisor {
    /// Never returns once the supervisor is silent.
    async fn answers(&self) {
        if self.calls.silent.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }

    fn known(&self, model: &str) -> Result<()> {
        let is_alias = self.calls.settings.lock().unwrap().aliases.iter().any(|alias| alias == model);
        match model {
            "m" | "slow" | "vectors" | "ranker" => Ok(()),
            "eyes" if self.calls.has_eyes.load(Ordering::Relaxed) => Ok(()),
            _ if is_alias => Ok(()),
            _ => Err(Error::not_found(Resource::Model, format!("no \"{model}\""))),
        }
    }
}

impl Supervisor for FakeSupervisor {
    async fn ensure_ready(self, _: Context, want: Want) -> Result<Vec<WorkerAddress>> {
        if want.model == "slow" {
            tokio::time::sleep(Duration::from_secs(12)).await;
        }
        self.calls.asked.fetch_add(1, Ordering::Relaxed);
        if want.model == "crashing" {
            let text = "the worker for \"crashing\" ended (signal 9)";
            return Err(Error::new(ErrorKind::Unavailable, Origin::Worker, text));
        }
        let incarnation = self.address.incarnation + self.deaths.load(Ordering::Relaxed);
        self.known(&want.model).map(|()| vec![WorkerAddress { incarnation, ..self.address }])
    }

    async fn models(self, _: Context) -> Vec<ModelEntry> {
        self.answers().await;
        let details = Details { folder: "/models/m".into(), ..Details::default() };
        let ready = ModelEntry { id: "m".into(), created: 5, bytes: 9, details, ..ModelEntry::default() };
        let loading = ModelState::Loading { loaded: 9, total: 20 };
        let slow = ModelEntry { id: "slow".into(), state: loading, ..ModelEntry::default() };
        let strange = Details { unserved: true, ..Details::default() };
        let strange = ModelEntry { id: "strange".into(), details: strange, ..ModelEntry::default() };
        let ready = ModelEntry { state: ModelState::Ready, ..ready };
        if self.calls.one_per_task.load(Ordering::Relaxed) {
            let encoder = |id: &str, kind| {
                let details = Details { kind, ..Details::default() };
                ModelEntry { id: id.into(), details, ..ModelEntry::default() }
            };
            return vec![
                ready,
                encoder("ranker", ModelKind::Rerank),
                strange,
                encoder("vectors", ModelKind::Embed),
            ];
        }
        let eyes = self.calls.has_eyes.load(Ordering::Relaxed).then(images::eyes);
        vec![strange, ready, slow].into_iter().chain(eyes).collect()
    }

    async fn model(self, context: Context, name: String) -> Result<ModelEntry> {
        let aliases = self.calls.settings.lock().unwrap().aliases.clone();
        let id = if aliases.contains(&name) { "m".to_owned() } else { name };
        let found = self.clone().models(context).await.into_iter().find(|model| model.id == id);
        found.ok_or_else(|| Error::not_found(Resource::Model, format!("no \"{id}\"")).with_field("model"))
    }

    async fn keep_alive(self, _: Context, model: String, keep: KeepAlive) -> Result<()> {
        self.calls.kept.lock().unwrap().push(keep);
        self.known(&model)
    }

    async fn unload(self, _: Context, model: String, _: bool) -> Result<()> {
        self.known(&model)
    }

    async fn restart(self, _: Context, what: Restart) -> Result<()> {
        match what {
            Restart::Gateway => Ok(()),
            Restart::Model(model) => self.known(&model),
        }
    }

    async fn pin(self, _: Context, model: String, _: bool) -> Result<()> {
        self.known(&model)
    }

    async fn stop(self, _: Context) {}

    async fn downloads(self, _: Context) -> Result<Vec<Download>> {
        Ok(Vec::new())
    }

    async fn add_download(self, _: Context, order: DownloadOrder) -> Result<Download> {
        Ok(Download { model: order.model, ..Download::default() })
    }

    async fn change_download(self, _: Context, id: String, _: DownloadChange) -> Result<Download> {
        Err(Error::not_found(Resource::Download, format!("no \"{id}\"")))
    }

    async fn remove_download(self, _: Context, id: String, _: bool) -> Result<Download> {
        Err(Error::not_found(Resource::Download, format!("no \"{id}\"")))
    }

    async fn search_hub(self, _: Context, _: HubQuery) -> Result<Vec<FoundModel>> {
        Ok(Vec::new())
    }

    async fn watch_downloads(self, _: Context, revision: u64) -> Downloads {
        if revision > 0 {
            std::future::pending::<()>().await;
        }
        Downloads { revision: 1, ..Downloads::default() }
    }

    async fn removal(self, _: Context, model: String) -> Result<RemovedModel> {
        self.known(&model).map(|()| RemovedModel { model, freed_bytes: 9, ..RemovedModel::default() })
    }

    async fn remove_model(self, context: Context, model: String) -> Result<RemovedModel> {
        self.removal(context, model).await
    }

    async fn logs(self, _: Context, after: Option<u64>, most: u32) -> LogLines {
        let line = |number: u64| LogLine {
            number,
            process: "supervisor".into(),
            text: format!("2026-11-29T08:00:00Z  INFO mlxd: line {number}"),
        };
        let lines = (after.unwrap_or(0) + 1..=3).take(most as usize).map(line).collect();
        LogLines { since_ms: 5, lines, has_gap: false }
    }

    async fn pool(self, _: Context) -> Pool {
        self.answers().await;
        Pool::default()
    }

    async fn watch(self, _: Context, revision: u64) -> Changes {
        if revision > 0 {
            std::future::pending::<()>().await;
        }
        Changes { revision: 1, ..Changes::default() }
    }

    async fn settings(self, _: Context, model: String) -> Result<ModelSettings> {
        self.known(&model).map(|()| self.calls.settings.lock().unwrap().clone())
    }

    async fn set_settings(self, _: Context, model: String, settings: ModelSettings) -> Result<()> {
        self.known(&model)?;
        settings.check()?;
        *self.calls.settings.lock().unwrap() = settings;
        Ok(())
    }

    async fn live_settings(self, _: Context) -> Result<LiveSettings> {
        Ok(self.calls.live.lock().unwrap().clone())
    }

    async fn change_live_settings(self, _: Context, change: SettingsChange) -> Result<SettingsOutcome> {
        let mut live = self.calls.live.lock().unwrap();
        if change.expected.is_some_and(|expected| expected != live.revision) {
            return Ok(SettingsOutcome::Stale);
        }
        for (name, value) in change.values {
            if name != "body_seconds" {
                return Err(Error::invalid(&name, format!("{name} is none of body_seconds")));
            }
            live.settings = vec![LiveSetting {
                name,
                value,
                default: "30".into(),
                source: SettingSource::File,
                place: None,
                effect: SettingEffect::AtOnce,
                is_pending: false,
            }];
        }
        live.revision.push('x');
        Ok(SettingsOutcome::Changed(live.clone()))
    }

    async fn beat(self, _: Context) {}

    async fn excuse(self, _: Context, model: String, incarnation: u64) -> Result<()> {
        self.calls.excused.lock().unwrap().push(incarnation);
        self.known(&model)
    }
}

impl FakeWorker {
    /// Dies of a call. Returns the error that the gateway sees.
    fn die(&self) -> Error {
        self.poisoned.fetch_add(1, Ordering::Relaxed);
        self.deaths.fetch_add(1, Ordering::Relaxed);
        // The link's error for a connection that ended.
        Error::new(ErrorKind::Unavailable, Origin::Gateway, "the worker does not answer")
    }

    /// Whether it refuses requests because it is about to end. The next incarnation takes them.
    fn is_leaving(&self) -> bool {
        if self.deaths.load(Ordering::Relaxed) > 0 {
            return false;
        }
        let deaths = Arc::clone(&self.deaths);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(400)).await;
            deaths.fetch_add(1, Ordering::Relaxed);
        });
        true
    }

    fn send(&self, stream: StreamId, events: Vec<(ChoiceId, Event)>) {
        if let Some(frames) = self.streams.lock().unwrap().get(&stream) {
            frames.send(Some(StepFrame { step: 0, events })).unwrap();
        }
    }

    async fn play(self, stream: StreamId, id: ChoiceId, prompt: String, generated: Vec<u32>) {
        let word = |index: u32| {
            let parts = vec![Part::Text(format!("w{index} "))];
            (id, Event::Delta(Delta { index, tokens: vec![index], parts, logprobs: Vec::new() }))
        };
        let usage = Usage { prompt_tokens: 3, completion_tokens: 9, ..Usage::default() };
        let end = (id, Event::Finished { reason: FinishReason::Stop, usage });
        let (verb, number) = prompt.split_once(' ').unwrap_or((&prompt, "0"));
        let number: u32 = number.parse().unwrap();
        match verb {
            "drain" | "last" => self.send(stream, vec![end]),
            "count" => {
                for index in 0..number {
                    self.send(stream, vec![word(index)]);
                }
                self.send(stream, vec![end]);
            }
            "burst" => self.send(stream, (0..number).map(word).chain([end]).collect()),
            "late" => {
                tokio::time::sleep(Duration::from_secs(number.into())).await;
                self.send(stream, vec![word(0), end]);
            }
            "drip" => {
                for index in 0..number {
                    self.send(stream, vec![word(index)]);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            "fail" => {
                let error = Error::new(ErrorKind::Internal, Origin::Worker, "the device is on fire");
                let mut events: Vec<_> = (0..number).map(word).collect();
                events.push((id, Event::Failed(error)));
                self.send(stream, events);
            }
            "lose" if generated.len() as u32 + 1 >= number => {
                self.send(stream, vec![word(generated.len() as u32), end]);
            }
            // One word each time, and then the connection ends.
            "lose" | "leave" => {
                assert!(generated.iter().copied().eq(0..generated.len() as u32));
                self.send(stream, vec![word(generated.len() as u32)]);
                self.deaths.fetch_add(1, Ordering::Relaxed);
                let frames = self.streams.lock().unwrap().remove(&stream).unwrap();
                frames.send(None).unwrap();
            }
            other => panic!("no such prompt: {other}"),
        }
    }
}

/// The script in a message. The gateway's own messages for a compaction have a script each.
fn scripted(text: &str) -> String {
    match text.split_whitespace().next() {
        Some("Summarise") => "count 2".to_owned(),
        Some("The") => "count 1".to_owned(),
        _ => text.to_owned(),
    }
}

impl Worker for FakeWorker {
    async fn wait_ready(self, _: Context) -> Result<ModelInfo> {
        Ok(info())
    }

    async fn submit(self, _: Context, stream: StreamId, submission: Box<Submission>) -> Result<Accepted> {
        let id = submission.choices[0].id;
        self.images.read(&submission.generation.prompt);
        if let Some(events) = scoring::events(id, &submission.generation) {
            self.send(stream, events);
            return Ok(Accepted { prompt_tokens: 3, capacity: CAPACITY });
        }
        if let Some(script) = verdicts::script(&submission.generation, &self.judge) {
            tokio::spawn(async move { self.send(stream, verdicts::play(id, &script).await) });
            return Ok(Accepted { prompt_tokens: 3, capacity: CAPACITY });
        }
        let prompt = match submission.generation.prompt {
            Prompt::Text(prompt) => prompt,
            Prompt::Chat(chat) => scripted(&chat.messages.last().unwrap().content.text()),
            Prompt::Tokens(_) | Prompt::Infill { .. } => panic!("only texts and chats are asked here"),
        };
        // The gateway's own instruction.
        let prompt = if prompt.ends_with("Write only the summary.") { "count 2".to_owned() } else { prompt };
        if prompt == "drain" && self.is_leaving() {
            return Err(Error::new(ErrorKind::Unavailable, Origin::Worker, "the worker is shutting down"));
        }
        if prompt == "refuse" {
            return Err(Error::full(Capacity { free: 0, ..CAPACITY }, 1));
        }
        self.priorities.lock().unwrap().push(submission.generation.priority);
        let free = if prompt == "last" { 0 } else { CAPACITY.free };
        self.scopes.lock().unwrap().push(submission.cache_scope);
        for choice in submission.choices {
            tokio::spawn(self.clone().play(stream, choice.id, prompt.clone(), choice.generated));
        }
        Ok(Accepted { prompt_tokens: 3, capacity: Capacity { free, ..CAPACITY } })
    }

    async fn count_tokens(self, _: Context, prompt: Prompt) -> Result<u32> {
        self.images.read(&prompt);
        if matches!(&prompt, Prompt::Chat(chat) if chat.messages[0].content.text() == "late") {
            tokio::time::sleep(Duration::from_secs(30)).await;
        }
        let poison = matches!(&prompt, Prompt::Chat(chat) if chat.messages[0].content.text() == "poison");
        if poison { Err(self.die()) } else { Ok(3) }
    }

    async fn render(self, _: Context, prompt: Prompt) -> Result<RenderedPrompt> {
        let (text, template) = match prompt {
            Prompt::Chat(chat) => {
                let sanitized = u32::from(chat.sanitize_control_tokens == Some(true));
                let file = "chat_template.jinja".to_owned();
                let used = TemplateUse { name: "default".into(), file, sanitized, ..TemplateUse::default() };
                let texts: Vec<_> = chat.messages.iter().map(|message| message.content.text()).collect();
                (texts.join("|"), Some(used))
            }
            Prompt::Text(text) => (text, None),
            Prompt::Tokens(_) | Prompt::Infill { .. } => panic!("only texts and chats are asked here"),
        };
        if text.starts_with("refuse") {
            return Err(Error::invalid(Field::Messages, "the template refuses it"));
        }
        let tokens = text.bytes().map(u32::from).collect();
        Ok(RenderedPrompt { text, tokens, max_context: 64, template })
    }

    /// A token for each byte, 1000 before a text with special tokens, and 999 for each `<s>`.
    async fn tokenize(self, _: Context, request: TokenizeRequest) -> Result<Tokenized> {
        let text = match request.prompt {
            Prompt::Text(text) => text,
            Prompt::Chat(chat) => chat.messages[0].content.text().into_owned(),
            Prompt::Tokens(_) | Prompt::Infill { .. } => panic!("only texts and chats are asked here"),
        };
        let mut tokens = if request.add_special { vec![1000] } else { Vec::new() };
        match text.strip_prefix("<s>").filter(|_| request.parse_special) {
            Some(rest) => tokens.extend([999].into_iter().chain(rest.bytes().map(u32::from))),
            None => tokens.extend(text.bytes().map(u32::from)),
        }
        let piece = |token: &u32| u8::try_from(*token).map_or(b"<s>".to_vec(), |byte| vec![byte]);
        let pieces = if request.pieces { tokens.iter().map(piece).collect() } else { Vec::new() };
        Ok(Tokenized { tokens, pieces, max_context: 64 })
    }

    async fn detokenize(self, _: Context, tokens: Vec<u32>) -> Result<String> {
        let byte =
            |token: u32| u8::try_from(token).map_err(|_| Error::invalid("tokens", "tokens: no such id"));
        let bytes = tokens.into_iter().map(byte).collect::<Result<Vec<_>>>()?;
        Ok(String::from_utf8(bytes).unwrap())
    }

    async fn embed(self, _: Context, request: EmbedRequest) -> Result<Embeddings> {
        if request.inputs == [Input::Text("poison".into())] {
            return Err(self.die());
        }
        if request.inputs == [Input::Text("full".into())] {
            return Err(Error::full(Capacity { free: 0, ..CAPACITY }, 1));
        }
        if request.inputs == [Input::Text("late".into())] {
            tokio::time::sleep(Duration::from_secs(30)).await;
        }
        self.judge.embedded.lock().unwrap().push(request.inputs.len());
        let vectors = request.inputs.iter().map(|input| match input {
            input if verdicts::vector(input).is_some() => verdicts::vector(input).unwrap(),
            Input::Text(text) => vec![text.len() as f32, 0.5],
            Input::Tokens(tokens) => vec![tokens.len() as f32, 0.25],
        });
        Ok(Embeddings { vectors: vectors.collect(), tokens: 5, capacity: CAPACITY })
    }

    async fn rerank(self, _: Context, request: RerankRequest) -> Result<Scores> {
        if request.query == "late" {
            tokio::time::sleep(Duration::from_secs(30)).await;
        }
        if request.query != "refuse" {
            let scores = request.documents.iter().map(|text| 1.0 / text.len() as f32).collect();
            return Ok(Scores { scores, tokens: 7, capacity: CAPACITY });
        }
        Err(Error::invalid("model", "this model generates text and does not rerank"))
    }

    async fn cancel(self, _: Context, _: StreamId, id: ChoiceId) {
        self.cancelled.lock().unwrap().push(id);
    }

    async fn health(self, _: Context) -> Health {
        Health::default()
    }

    async fn progress(self, _: Context) -> LoadProgress {
        LoadProgress::default()
    }

    async fn resize_kv(self, _: Context, bytes: u64) -> Result<u64> {
        Ok(bytes)
    }

    async fn trim(self, _: Context) -> Result<Memory> {
        Ok(Memory::default())
    }
}

fn info() -> ModelInfo {
    ModelInfo {
        architecture: "fake".into(),
        kind: ModelKind::Generate,
        max_context: 64,
        has_chat_template: true,
        weight_bytes: 0,
        token_bound: None,
        keeps_user_turns: false,
    }
}

async fn frames(mut connection: WorkerEnd, worker: FakeWorker) {
    let hello = connection.next().await.unwrap().unwrap();
    let (sender, mut frames): (Frames, UnboundedReceiver<_>) = unbounded_channel();
    worker.streams.lock().unwrap().insert(hello.stream, sender);
    connection.send(StreamFrame::Welcome).await.unwrap();
    while let Some(Some(frame)) = frames.recv().await {
        connection.send(StreamFrame::Step(frame)).await.unwrap();
    }
}

async fn worker(listener: UnixListener, worker: FakeWorker) {
    while let Ok((stream, _)) = listener.accept().await {
        let worker = worker.clone();
        tokio::spawn(async move {
            match socket::welcome(stream).await.unwrap() {
                (Channel::Steps, stream) => frames(socket::framed(stream), worker).await,
                (Channel::Control, stream) => {
                    let calls = BaseChannel::with_defaults(socket::framed(stream)).execute(worker.serve());
                    calls.for_each(|call| async { drop(tokio::spawn(call)) }).await;
                }
            }
        });
    }
}

async fn supervisor(stream: UnixStream, supervisor: FakeSupervisor) {
    let (_, stream) = socket::welcome(stream).await.unwrap();
    let calls = BaseChannel::with_defaults(socket::framed(stream)).execute(supervisor.serve());
    calls.for_each(|call| async { drop(tokio::spawn(call)) }).await;
}

/// A gateway between a client and the fakes.
pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    pub(crate) backend: Arc<LocalBackend>,
    pub(crate) watch: FleetWatch,
    worker: FakeWorker,
    calls: Calls,
    pub(crate) home: TempDir,
    // Dropped last: everything runs on it.
    runtime: tokio::runtime::Runtime,
}

impl Gateway {
    pub(crate) fn start(keys: &str) -> Self {
        Self::with(GatewayConfig { api_keys: keys.split(',').collect(), ..GatewayConfig::default() })
    }

    /// A gateway that knows these providers.
    pub(crate) fn with_providers(providers: serde_json::Value) -> Self {
        Self::with_routes(providers, serde_json::json!([]))
    }

    /// A gateway that knows these providers and routes.
    pub(crate) fn with_routes(providers: serde_json::Value, routes: serde_json::Value) -> Self {
        let providers = serde_json::from_value(providers).unwrap();
        let routes = serde_json::from_value(routes).unwrap();
        Self::with(GatewayConfig { providers, routes, ..GatewayConfig::default() })
    }

    pub(crate) fn with(config: GatewayConfig) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let home = tempfile::tempdir().unwrap();
        let fake = FakeWorker::default();
        let calls = Calls::default();
        let (address, backend, watch) = runtime.block_on(serve(&home, &fake, &calls, config));
        Self { address, backend, watch, worker: fake, calls, home, runtime }
    }

    /// From now on there is one model of each task: `m`, `vectors` and `ranker`.
    pub(crate) fn serve_one_model_per_task(&self) {
        self.calls.one_per_task.store(true, Ordering::Relaxed);
    }

    /// From now on the supervisor answers nothing about models and memory.
    pub(crate) fn silence_supervisor(&self) {
        self.calls.silent.store(true, Ordering::Relaxed);
    }

    /// Runs a future on the gateway's runtime.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// From now on there is a model `eyes` that reads images.
    pub(crate) fn serve_eyes(&self) {
        self.calls.has_eyes.store(true, Ordering::Relaxed);
    }

    /// The images that the worker has received.
    pub(crate) fn images(&self) -> &images::Received {
        &self.worker.images
    }

    /// Cancellations that the worker has received.
    pub(crate) fn cancelled(&self) -> usize {
        self.worker.cancelled.lock().unwrap().len()
    }

    /// The cache scopes that the worker has received, in order.
    pub(crate) fn scopes(&self) -> Vec<String> {
        self.worker.scopes.lock().unwrap().clone()
    }

    /// The priorities of the requests that the worker has received, in order.
    pub(crate) fn priorities(&self) -> Vec<Priority> {
        self.worker.priorities.lock().unwrap().clone()
    }

    /// The questions about sentences that the worker has received, as the model gets them.
    pub(crate) fn judged(&self) -> Vec<String> {
        self.worker.judge.sentences.lock().unwrap().clone()
    }

    /// The number of texts of each call for vectors that the worker has received.
    pub(crate) fn embedded(&self) -> Vec<usize> {
        self.worker.judge.embedded.lock().unwrap().clone()
    }

    /// The time limits of the generations that the worker has received, in milliseconds.
    pub(crate) fn time_limits(&self) -> Vec<Option<u32>> {
        self.worker.judge.limits.lock().unwrap().clone()
    }

    /// Calls that ended the worker.
    pub(crate) fn poisoned(&self) -> usize {
        self.worker.poisoned.load(Ordering::Relaxed)
    }

    /// The keep-alives that the supervisor has received.
    pub(crate) fn keep_alives(&self) -> Vec<KeepAlive> {
        self.calls.kept.lock().unwrap().clone()
    }

    /// Workers whose deaths requests are to blame for.
    pub(crate) fn excused(&self) -> Vec<u64> {
        self.calls.excused.lock().unwrap().clone()
    }

    /// Calls of `ensure_ready` that the supervisor has received.
    pub(crate) fn asked(&self) -> usize {
        self.calls.asked.load(Ordering::Relaxed)
    }

    /// Opens a connection and sends a request.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        )
        .unwrap();
        stream
    }

    /// Sends a request and reads the response: status, head in lower case, body with chunk lengths.
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String, String) {
        let mut text = String::new();
        self.send(method, path, headers, body).read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_lowercase(), body.to_owned())
    }

    /// Sends a completion request. `prompt` controls the worker.
    pub(crate) fn complete(&self, prompt: &str, stream: bool) -> (u16, String, String) {
        self.ask("POST", "/v1/completions", "", &completion(prompt, stream))
    }
}

/// The body of a completion request.
pub(crate) fn completion(prompt: &str, stream: bool) -> String {
    serde_json::json!({"model": "m", "prompt": prompt, "stream": stream}).to_string()
}

async fn serve(
    home: &TempDir,
    fake: &FakeWorker,
    calls: &Calls,
    config: GatewayConfig,
) -> (SocketAddr, Arc<LocalBackend>, FleetWatch) {
    let path = home.path().join("w.sock");
    tokio::spawn(worker(socket::listen(&path).unwrap(), fake.clone()));
    let address = WorkerAddress { socket: path, incarnation: 1, model: info() };
    let path = home.path().join("s.sock");
    let listener = socket::listen(&path).unwrap();
    let fake = FakeSupervisor { address, deaths: Arc::clone(&fake.deaths), calls: calls.clone() };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(supervisor(stream, fake.clone()));
        }
    });
    stack::gateway(home.path(), path, config).await
}
