//! The thread that loads the model and then runs the engine. One thread, because MLX's arrays stay where they were made.

use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Instant;

use ipc_proto::worker::ModelInfo;
use ipc_proto::{Error, ErrorKind, Source};
use tokio::sync::{oneshot, watch};

use crate::adapters::dialect::Overrides;
use crate::adapters::model_files::ModelFiles;
use crate::adapters::tokenizer::Tokenizer;
use crate::engine::Engine;
use crate::engine::command::Command;
use crate::engine::counters::Counters;
use crate::engine::null::NullRunner;
use crate::engine::proposer::Proposer;
use crate::engine::runner::{Capacity, Runner};
use crate::engine::scheduler::{self, Limits};
use crate::mlx::{self, LoadOptions};
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
    let (ready, runner, proposer) = match load(options, &counters) {
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
    Engine::new(runner, options.limits, tokenizer, counters).drafting(proposer).run(commands);
    Ended::Stopped
}

type Loaded = (Ready, Box<dyn Runner>, Option<Proposer>);

fn load(options: &Options, counters: &Counters) -> Result<Loaded, String> {
    let config = Config::read(&options.folder).map_err(|e| e.to_string())?;
    let files = ModelFiles::read_as(&options.folder, options.overrides)?;
    let runner: Box<dyn Runner> = if options.null {
        Box::new(null(options, &config, &files)?)
    } else {
        Box::new(real(options, counters)?)
    };
    let capacity = runner.capacity();
    let proposer = options.draft.as_deref().map(|folder| proposer(folder, &files, capacity)).transpose()?;
    Ok((ready(config, files, capacity), runner, proposer))
}

/// The model in `folder`, to draft for one of these files and this capacity.
fn proposer(folder: &Path, files: &ModelFiles, capacity: Capacity) -> Result<Proposer, String> {
    let own = Tokenizer::read(folder)?;
    let tokenizer = &files.tokenizer;
    let same = |token: u32| own.bytes(token) == tokenizer.bytes(token);
    if own.vocabulary() != tokenizer.vocabulary() || !(0..own.vocabulary()).all(same) {
        let text = "the draft model has another vocabulary than the model it is to draft for";
        return Err(format!("{}: {text}", folder.display()));
    }
    let load = LoadOptions { kv_blocks: Some(capacity.blocks), ..LoadOptions::default() };
    let runner = mlx::load(folder, &load, &mut |_, _| ()).map_err(|e| e.to_string())?;
    tracing::info!(
        folder = %folder.display(),
        weight_mib = runner.capacity().weight_bytes >> 20,
        "the draft model is ready"
    );
    Ok(Proposer::new(Box::new(runner)))
}

fn real(options: &Options, counters: &Counters) -> Result<mlx::MlxRunner, String> {
    let folder: &Path = &options.folder;
    let (kv_bytes, adapter) = (options.kv_bytes, options.adapter.clone());
    let load = LoadOptions { kv_bytes, adapter, context: options.context, ..LoadOptions::default() };
    let mut tenths = 0;
    let mut progress = |done: u64, all: u64| {
        counters.publish_progress(done, all);
        let now = done.saturating_mul(10).checked_div(all).unwrap_or(10);
        if now > tenths {
            tenths = now;
            tracing::info!(percent = now * 10, loaded_mib = done >> 20, "loading weights");
        }
    };
    mlx::load(folder, &load, &mut progress).map_err(|e| e.to_string())
}

fn null(options: &Options, config: &Config, files: &ModelFiles) -> Result<NullRunner, String> {
    let tokens = files.tokenizer.encode(" one two three four", false)?;
    let context = config.max_context().unwrap_or(DEFAULT_CONTEXT).min(options.context.unwrap_or(u32::MAX));
    NullRunner::new(context, tokens)
}

fn ready(config: Config, files: ModelFiles, capacity: Capacity) -> Ready {
    let info = ModelInfo {
        architecture: config.model_type,
        max_context: scheduler::max_length(capacity) as u32,
        has_chat_template: files.template.is_some(),
        weight_bytes: capacity.weight_bytes,
    };
    Ready { info, files: Arc::new(files) }
}
