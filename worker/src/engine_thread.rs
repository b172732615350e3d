//! The thread that loads the model and then runs the engine. One thread, because MLX's arrays stay where they were made.

use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Instant;

use ipc_proto::worker::{ModelInfo, ModelKind};
use ipc_proto::{Error, ErrorKind, Source, families};
use tokio::sync::{oneshot, watch};

use crate::adapters::dialect::Overrides;
use crate::adapters::model_files::ModelFiles;
use crate::adapters::sentence::{self, Sentence};
use crate::adapters::tokenizer::Tokenizer;
use crate::embed::{self, admission::Reader};
use crate::engine::Engine;
use crate::engine::command::Command;
use crate::engine::counters::Counters;
use crate::engine::hanging::Hanging;
use crate::engine::null::NullRunner;
use crate::engine::proposer::Proposer;
use crate::engine::runner::{Capacity, Runner};
use crate::engine::scheduler::{self, Limits};
use crate::mlx::reader::{self, MlxReader};
use crate::mlx::{self, LoadOptions};
use crate::models::encoder;
use crate::rpc::Ready;
use crate::weights::config::Config;

/// The context of a model that does not say how long it is.
const DEFAULT_CONTEXT: u32 = 4096;

/// What to load and how to run it.
#[derive(Debug)]
pub struct Options {
    /// The model's folder.
    pub folder: PathBuf,
    /// The folder of an adapter to lay over the model.
    pub adapter: Option<PathBuf>,
    /// The folder of a second, smaller model of the same vocabulary that drafts.
    pub draft: Option<PathBuf>,
    /// Bounds of a step.
    pub limits: Limits,
    /// Bytes the KV pool may grow to; `None` leaves it to the runner.
    pub kv_bytes: Option<u64>,
    /// Prompt and output together, in tokens, at most; `None`: as the model's configuration says.
    pub context: Option<u32>,
    /// Formats of calls and reasoning that are not to be taken from the chat template.
    pub overrides: Overrides,
    /// The file at which a step hangs, for tests.
    pub hang: Option<PathBuf>,
    /// Generate without computing: what remains is the cost of everything around the model.
    pub null: bool,
}

/// How the thread ended, if it did not panic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The model could not be loaded; the reason was told.
    NotLoaded,
    /// The engine was told to end.
    Stopped,
}

type Outcome = watch::Sender<Option<ipc_proto::Result<Ready>>>;

/// Starts the thread. `outcome` hears how loading ended; the receiver that is returned, how the thread did: it fails
/// when the thread panicked.
///
/// # Errors
/// When no thread can be started.
pub fn spawn(
    options: Options,
    commands: mpsc::Receiver<Command>,
    outcome: Outcome,
    counters: Arc<Counters>,
) -> std::io::Result<oneshot::Receiver<Ended>> {
    let (ending, ended) = oneshot::channel();
    std::thread::Builder::new().name("engine".into()).spawn(move || {
        let end = run(&options, &commands, &outcome, counters);
        // Nobody listens any more when the process is ending.
        ending.send(end).ok();
    })?;
    Ok(ended)
}

fn run(
    options: &Options,
    commands: &mpsc::Receiver<Command>,
    outcome: &Outcome,
    counters: Arc<Counters>,
) -> Ended {
    let start = Instant::now();
    let (ready, loaded) = match load(options, &counters) {
        Ok(loaded) => loaded,
        Err(reason) => {
            tracing::error!(folder = %options.folder.display(), reason, "cannot load the model");
            let error = Error::new(ErrorKind::ModelBroken, Source::Worker, reason);
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
        Loaded::Generates(runner, proposer) => {
            Engine::new(runner, options.limits, tokenizer, counters).drafting(proposer).run(commands);
        }
        Loaded::Reads(runner) => {
            let (step_tokens, lanes) = (runner.step_tokens(), runner.lanes());
            embed::Engine::new(*runner, step_tokens, lanes, counters).run(commands);
        }
    }
    Ended::Stopped
}

/// A model and what runs it.
enum Loaded {
    Generates(Box<dyn Runner>, Option<Proposer>),
    Reads(Box<MlxReader>),
}

/// What the model in `folder` does: its architecture says so, and of decoders the files of sentence-transformers.
fn kind(config: &Config, folder: &Path) -> ModelKind {
    families::kind(&config.model_type, sentence::has_modules(folder), config.classifies())
}

fn load(options: &Options, counters: &Counters) -> Result<(Ready, Loaded), String> {
    let config = Config::read(&options.folder).map_err(|e| e.to_string())?;
    let files = ModelFiles::read_as(&options.folder, options.overrides)?;
    match kind(&config, &options.folder) {
        ModelKind::Generate => load_generating(options, counters, config, files),
        kind => load_reading(options, counters, &config, files, kind),
    }
}

fn load_reading(
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
    let sentence = Sentence::read(&options.folder)?;
    let runner =
        reader::load(&options.folder, &sentence, None, &mut progress(counters)).map_err(|e| e.to_string())?;
    let max_tokens = max_tokens(&sentence, config, &files).min(options.context.unwrap_or(u32::MAX));
    let info = ModelInfo {
        architecture: config.model_type.clone(),
        kind,
        max_context: max_tokens,
        has_chat_template: false,
        weight_bytes: runner.weight_bytes(),
    };
    let width = sentence.dense.last().map_or(config.hidden_size().unwrap_or(0), |dense| dense.outputs as u32);
    let reader = Reader {
        tokenizer: Arc::clone(&files.tokenizer),
        max_tokens,
        vocabulary: files.vocabulary,
        width,
        // Decoders that embed are trained so as a rule; encoders say it.
        matryoshka: !encoder::is_encoder(&config.model_type) || config.is_matryoshka(),
        sentence,
    };
    let ready = Ready { info, files: Arc::new(files), reader: Some(Arc::new(reader)) };
    Ok((ready, Loaded::Reads(Box::new(runner))))
}

/// Tokens of a text, at most: as sentence-transformers' files say, and never more than there are positions.
fn max_tokens(sentence: &Sentence, config: &Config, files: &ModelFiles) -> u32 {
    let positions = config.max_context().unwrap_or(DEFAULT_CONTEXT);
    // RoBERTa's first positions are those of the padding and before.
    let reserved = if config.model_type.contains("roberta") { config.pad_token_id() + 1 } else { 0 };
    let positions = positions.saturating_sub(reserved).max(1);
    sentence.max_tokens.or(files.max_length).map_or(positions, |most| most.clamp(1, positions))
}

fn load_generating(
    options: &Options,
    counters: &Counters,
    config: Config,
    files: ModelFiles,
) -> Result<(Ready, Loaded), String> {
    let runner: Box<dyn Runner> = if options.null {
        Box::new(null(options, &config, &files)?)
    } else {
        Box::new(real(options, counters)?)
    };
    let runner = match &options.hang {
        Some(file) => Box::new(Hanging::new(runner, file.clone())),
        None => runner,
    };
    let capacity = runner.capacity();
    let proposer =
        options.draft.as_deref().map(|folder| proposer(folder, &files, capacity, counters)).transpose()?;
    Ok((ready(config, files, options.limits, capacity), Loaded::Generates(runner, proposer)))
}

/// The model in `folder`, to draft for one of these files and this capacity.
fn proposer(
    folder: &Path,
    files: &ModelFiles,
    capacity: Capacity,
    counters: &Counters,
) -> Result<Proposer, String> {
    let own = Tokenizer::read(folder)?;
    let tokenizer = &files.tokenizer;
    let same = |token: u32| own.bytes(token) == tokenizer.bytes(token);
    if own.vocabulary() != tokenizer.vocabulary() || !(0..own.vocabulary()).all(same) {
        let text = "the draft model has another vocabulary than the model it is to draft for";
        return Err(format!("{}: {text}", folder.display()));
    }
    let load = LoadOptions { kv_blocks: Some(capacity.blocks), ..LoadOptions::default() };
    // Whoever watches sees bytes being read all the time.
    let before = counters.progress();
    let mut progress = |done, all| counters.publish_progress(before.loaded + done, before.total + all);
    let runner = mlx::load(folder, &load, &mut progress).map_err(|e| e.to_string())?;
    tracing::info!(
        folder = %folder.display(),
        weight_mib = runner.capacity().weight_bytes >> 20,
        "the draft model is ready"
    );
    Ok(Proposer::new(Box::new(runner)))
}

/// Tells the log, and whoever asks, how far loading is.
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

fn real(options: &Options, counters: &Counters) -> Result<mlx::MlxRunner, String> {
    let folder: &Path = &options.folder;
    let (kv_bytes, adapter) = (options.kv_bytes, options.adapter.clone());
    let load = LoadOptions { kv_bytes, adapter, context: options.context, ..LoadOptions::default() };
    mlx::load(folder, &load, &mut progress(counters)).map_err(|e| e.to_string())
}

fn null(options: &Options, config: &Config, files: &ModelFiles) -> Result<NullRunner, String> {
    let tokens = files.tokenizer.encode(" one two three four", false)?;
    let context = config.max_context().unwrap_or(DEFAULT_CONTEXT).min(options.context.unwrap_or(u32::MAX));
    NullRunner::new(context, tokens)
}

fn ready(config: Config, files: ModelFiles, limits: Limits, capacity: Capacity) -> Ready {
    let info = ModelInfo {
        architecture: config.model_type,
        kind: ModelKind::Generate,
        max_context: scheduler::max_length(limits, capacity) as u32,
        has_chat_template: files.templates.can_chat(),
        weight_bytes: capacity.weight_bytes,
    };
    Ready { info, files: Arc::new(files), reader: None }
}
