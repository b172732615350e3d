//! The thread that loads the model and then runs the engine. MLX arrays must stay on the thread that created them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Instant;

use ipc_proto::worker::{ModelInfo, ModelKind};
use ipc_proto::{Error, ErrorKind, Origin, families};
use tokio::sync::{oneshot, watch};

use crate::embed::{self, admission::EncoderModel};
use crate::engine::Engine;
use crate::engine::command::Command;
use crate::engine::counters::Counters;
use crate::engine::proposer::Proposer;
use crate::engine::runner::{Runner, RunnerCapacity};
use crate::engine::scheduler::{self, StepLimits};
use crate::mlx::encoder_runner::{self, EncoderRunner};
use crate::mlx::{self, LoadOptions};
use crate::models::encoder;
use crate::prompts;
use crate::rpc::Ready;
#[cfg(feature = "test-doubles")]
use crate::test_doubles;
use crate::text::model_files::ModelFiles;
use crate::text::model_formats::Overrides;
use crate::text::sentence_transformers::{self, SentenceConfig};
use crate::text::tokenizer::Tokenizer;
use crate::weights::config::Config;

/// Context, in tokens, of a model whose configuration does not state it.
const DEFAULT_CONTEXT: u32 = 4096;

/// The model to load, and how to run it.
#[derive(Debug)]
pub struct Options {
    /// Model folder.
    pub folder: PathBuf,
    /// Folder of an adapter.
    pub adapter: Option<PathBuf>,
    /// Folder of a draft model with the same vocabulary.
    pub draft: Option<PathBuf>,
    /// Bounds of a step.
    pub limits: StepLimits,
    /// Maximum size of the KV pool, in bytes; `None` uses the runner's default.
    pub kv_bytes: Option<u64>,
    /// Maximum prompt plus output, in tokens; `None` uses the model's configuration.
    pub context: Option<u32>,
    /// Tool call and reasoning formats that override those of the chat template.
    pub overrides: Overrides,
}

/// How the thread ended, if it did not panic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The model could not be loaded; the outcome has the reason.
    NotLoaded,
    /// The engine was stopped or drained.
    Stopped,
}

type LoadOutcome = watch::Sender<Option<ipc_proto::Result<Ready>>>;

/// Starts the thread. `outcome` receives the result of loading.
///
/// The returned receiver resolves when the thread ends; it fails if the thread panicked.
///
/// # Errors
/// When the thread cannot be started.
pub fn spawn(
    options: Options,
    commands: mpsc::Receiver<Command>,
    outcome: LoadOutcome,
    counters: Arc<Counters>,
) -> std::io::Result<oneshot::Receiver<Ended>> {
    let (ending, ended) = oneshot::channel();
    std::thread::Builder::new().name("engine".into()).spawn(move || {
        let end = run(&options, &commands, &outcome, counters);
        // The receiver is gone if the process is ending.
        ending.send(end).ok();
    })?;
    Ok(ended)
}

fn run(
    options: &Options,
    commands: &mpsc::Receiver<Command>,
    outcome: &LoadOutcome,
    counters: Arc<Counters>,
) -> Ended {
    let start = Instant::now();
    let (ready, loaded) = match load(options, &counters) {
        Ok(loaded) => loaded,
        Err(reason) => {
            tracing::error!(folder = %options.folder.display(), reason, "cannot load the model");
            let error = Error::new(ErrorKind::ModelBroken, Origin::Worker, reason);
            outcome.send_replace(Some(Err(error)));
            return Ended::NotLoaded;
        }
    };
    tracing::info!(
        seconds = start.elapsed().as_secs_f64(),
        weight_mib = ready.info.weight_bytes >> 20,
        max_context_tokens = ready.info.max_context,
        "the model is ready"
    );
    let tokenizer = Arc::clone(&ready.files.tokenizer);
    outcome.send_replace(Some(Ok(ready)));
    match loaded {
        Loaded::Decoder(runner, proposer) => {
            Engine::new(runner, options.limits, tokenizer, counters).with_proposer(proposer).run(commands);
        }
        Loaded::Encoder(runner) => {
            let (step_tokens, lanes) = (runner.step_tokens(), runner.lanes());
            embed::EncoderEngine::new(*runner, step_tokens, lanes, counters).run(commands);
        }
    }
    Ended::Stopped
}

/// A loaded model.
enum Loaded {
    Decoder(Box<dyn Runner>, Option<Proposer>),
    Encoder(Box<EncoderRunner>),
}

/// The kind of the model in `folder`: by architecture, and for decoders by the sentence-transformers files.
fn kind(config: &Config, folder: &Path) -> ModelKind {
    families::kind(&config.model_type, sentence_transformers::has_modules(folder), config.classifies())
}

fn load(options: &Options, counters: &Counters) -> Result<(Ready, Loaded), String> {
    let config = Config::read(&options.folder).map_err(|e| e.to_string())?;
    let files = ModelFiles::read_with(&options.folder, options.overrides)?;
    match kind(&config, &options.folder) {
        ModelKind::Generate => load_decoder(options, counters, config, files),
        kind => load_encoder(options, counters, &config, files, kind),
    }
}

fn load_encoder(
    options: &Options,
    counters: &Counters,
    config: &Config,
    files: ModelFiles,
    kind: ModelKind,
) -> Result<(Ready, Loaded), String> {
    if options.adapter.is_some() {
        return Err("adapters over models that embed or rerank are not supported".into());
    }
    if options.draft.is_some() {
        return Err("a model that embeds or reranks has nothing to draft for".into());
    }
    let sentence = SentenceConfig::read(&options.folder)?;
    let runner = encoder_runner::load(&options.folder, &sentence, None, &mut progress(counters))
        .map_err(|e| e.to_string())?;
    let max_tokens = max_tokens(&sentence, config, &files).min(options.context.unwrap_or(u32::MAX));
    let info = ModelInfo {
        architecture: config.model_type.clone(),
        kind,
        max_context: max_tokens,
        has_chat_template: false,
        weight_bytes: runner.weight_bytes(),
        token_bound: None,
        keeps_user_turns: false,
    };
    let width = sentence.dense.last().map_or(config.hidden_size().unwrap_or(0), |dense| dense.outputs as u32);
    let reader = EncoderModel {
        tokenizer: Arc::clone(&files.tokenizer),
        max_tokens,
        vocabulary: files.vocabulary,
        width,
        // Embedding decoders usually are Matryoshka models; encoders declare it.
        matryoshka: !encoder::is_encoder(&config.model_type) || config.is_matryoshka(),
        config: sentence,
    };
    let ready = Ready { info, files: Arc::new(files), reader: Some(Arc::new(reader)) };
    Ok((ready, Loaded::Encoder(Box::new(runner))))
}

/// Maximum tokens of a text: from the sentence-transformers files, bounded by the number of positions.
fn max_tokens(sentence: &SentenceConfig, config: &Config, files: &ModelFiles) -> u32 {
    let positions = config.max_context().unwrap_or(DEFAULT_CONTEXT);
    // RoBERTa reserves the positions up to that of the padding.
    let reserved = if config.model_type.contains("roberta") { config.pad_token_id() + 1 } else { 0 };
    let positions = positions.saturating_sub(reserved).max(1);
    sentence.max_tokens.or(files.max_length).map_or(positions, |most| most.clamp(1, positions))
}

fn load_decoder(
    options: &Options,
    counters: &Counters,
    config: Config,
    files: ModelFiles,
) -> Result<(Ready, Loaded), String> {
    let runner = decoder_runner(options, counters, &config, &files)?;
    let capacity = runner.capacity();
    let drafts = options.limits.drafts.most();
    let draft = options.draft.as_deref().filter(|_| capacity.blocks_per_state.is_none());
    if drafts > 0 && capacity.blocks_per_state.is_some() {
        tracing::warn!("drafts are off: recurrent states such as this model's cannot be taken back");
    }
    let proposer = draft.map(|folder| proposer(folder, &files, (capacity, drafts), counters));
    let proposer = proposer.transpose()?;
    Ok((ready(config, files, options.limits, capacity), Loaded::Decoder(runner, proposer)))
}

/// Loads the draft model in `folder` for the served model with these files and this capacity. It drafts `drafts` tokens at most.
fn proposer(
    folder: &Path,
    files: &ModelFiles,
    (capacity, drafts): (RunnerCapacity, u32),
    counters: &Counters,
) -> Result<Proposer, String> {
    let own = Tokenizer::read(folder)?;
    let tokenizer = &files.tokenizer;
    let same = |token: u32| own.bytes(token) == tokenizer.bytes(token);
    if own.vocabulary() != tokenizer.vocabulary() || !(0..own.vocabulary()).all(same) {
        let text = "the draft model has another vocabulary than the model it is to draft for";
        return Err(format!("{}: {text}", folder.display()));
    }
    let load = LoadOptions { kv_blocks: Some(capacity.blocks), drafts, ..LoadOptions::default() };
    // Add to the progress of the served model, so that it never goes back.
    let before = counters.progress();
    let mut progress = |done, all| counters.publish_progress(before.loaded + done, before.total + all);
    let runner = mlx::load(folder, &load, &mut progress).map_err(|e| e.to_string())?;
    if runner.capacity().blocks_per_state.is_some() {
        return Err(format!("{}: models with recurrent states cannot draft", folder.display()));
    }
    tracing::info!(
        folder = %folder.display(),
        weight_mib = runner.capacity().weight_bytes >> 20,
        "the draft model is ready"
    );
    Ok(Proposer::new(Box::new(runner)))
}

/// Publishes loading progress and logs every tenth.
fn progress(counters: &Counters) -> impl FnMut(u64, u64) {
    let mut tenths = 0;
    move |done: u64, all: u64| {
        counters.publish_progress(done, all);
        let now = done.saturating_mul(10).checked_div(all).unwrap_or(10);
        if now > tenths {
            tenths = now;
            tracing::info!(percent = now * 10, loaded_mib = done >> 20, "loading weights");
        }
    }
}

fn load_weights(options: &Options, counters: &Counters) -> Result<Box<dyn Runner>, String> {
    let folder: &Path = &options.folder;
    let (kv_bytes, adapter) = (options.kv_bytes, options.adapter.clone());
    let (context, drafts) = (options.context, options.limits.drafts.most());
    let load = LoadOptions { kv_bytes, adapter, context, drafts, ..LoadOptions::default() };
    let runner = mlx::load(folder, &load, &mut progress(counters)).map_err(|e| e.to_string())?;
    Ok(Box::new(runner))
}

#[cfg(not(feature = "test-doubles"))]
fn decoder_runner(
    options: &Options,
    counters: &Counters,
    _: &Config,
    _: &ModelFiles,
) -> Result<Box<dyn Runner>, String> {
    load_weights(options, counters)
}

#[cfg(feature = "test-doubles")]
fn decoder_runner(
    options: &Options,
    counters: &Counters,
    config: &Config,
    files: &ModelFiles,
) -> Result<Box<dyn Runner>, String> {
    let max_context =
        config.max_context().unwrap_or(DEFAULT_CONTEXT).min(options.context.unwrap_or(u32::MAX));
    let runner = match test_doubles::null_runner(&files.tokenizer, max_context)? {
        Some(runner) => runner,
        None => load_weights(options, counters)?,
    };
    Ok(test_doubles::hang_on_demand(runner))
}

fn ready(config: Config, files: ModelFiles, limits: StepLimits, capacity: RunnerCapacity) -> Ready {
    let info = ModelInfo {
        architecture: config.model_type,
        kind: ModelKind::Generate,
        max_context: scheduler::max_length(limits, capacity) as u32,
        has_chat_template: files.templates.can_chat(),
        weight_bytes: capacity.weight_bytes,
        token_bound: files.tokenizer.token_bound().cloned(),
        keeps_user_turns: prompts::keeps_user_turns(&files),
    };
    Ready { info, files: Arc::new(files), reader: None }
}
