//! The worker's command line, and what it asks of the engine.

use std::path::PathBuf;

use clap::Parser;
use clap::builder::RangedU64ValueParser;

use crate::adapters::dialect::Overrides;
use crate::engine::hanging;
use crate::engine::places::Places;
use crate::engine::scheduler::{Drafts, Limits};
use crate::engine_thread::Options;

/// Tokens that a draft model guesses ahead.
const DRAFT_TOKENS: usize = 4;

/// Serves one MLX model on a Unix socket.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Arguments {
    /// The model's folder.
    #[arg(long)]
    pub model: PathBuf,
    /// The folder of a LoRA, DoRA or full adapter in mlx-lm's format, to lay over the model.
    #[arg(long, value_name = "DIR")]
    adapter: Option<PathBuf>,
    /// Where to listen.
    #[arg(long)]
    pub socket: PathBuf,
    /// The model's name, for logs and the process list.
    #[arg(long, default_value = "")]
    pub name: String,
    /// Requests that generate at once; more wait.
    #[arg(long, default_value_t = 32, value_parser = at_least_one())]
    max_sequences: usize,
    /// Prompt tokens computed in one step.
    #[arg(long, default_value_t = 512, value_parser = at_least_one())]
    prefill_tokens: usize,
    /// Tokens to guess ahead for each request, from what its own text repeats, or with a draft model [default: none, with a
    /// draft model 4].
    #[arg(long, value_parser = RangedU64ValueParser::<usize>::new().range(..=16))]
    draft_tokens: Option<usize>,
    /// The folder of a smaller model with the same tokenizer that guesses ahead.
    #[arg(long, value_name = "DIR")]
    draft_model: Option<PathBuf>,
    /// Requests that may wait besides those that generate; more are refused. 0: no more are taken than generate at once. Of a
    /// model that reads: requests that it has at once, at least one.
    #[arg(long, default_value_t = 256)]
    max_waiting: usize,
    /// Memory for the KV cache, in MiB [default: eight full contexts, at most an eighth of the machine's memory].
    #[arg(long)]
    kv_mib: Option<u32>,
    /// Prompt and output together, in tokens, at most [default: the model's own].
    #[arg(long, value_parser = clap::value_parser!(u32).range(16..))]
    context_tokens: Option<u32>,
    #[command(flatten)]
    overrides: Overrides,
    /// At SIGTERM, seconds for running requests to end in.
    #[arg(long, default_value_t = 5)]
    pub drain_seconds: u64,
    /// Exit when standard input ends or the parent dies; leave SIGINT to the parent.
    #[arg(long)]
    pub lifeline: bool,
}

fn at_least_one() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}

impl Arguments {
    /// Places for what generates and for what waits.
    pub fn places(&self) -> Places {
        Places::new(self.max_sequences, self.max_waiting)
    }

    /// What to load and how to run it.
    pub fn options(&self) -> Options {
        let drafts = match (&self.draft_model, self.draft_tokens) {
            (None, None) | (_, Some(0)) => Drafts::None,
            (None, Some(tokens)) => Drafts::LookUp(tokens),
            (Some(_), tokens) => Drafts::Model(tokens.unwrap_or(DRAFT_TOKENS)),
        };
        let Self { max_sequences, prefill_tokens, .. } = *self;
        Options {
            folder: self.model.clone(),
            adapter: self.adapter.clone(),
            draft: self.draft_model.clone().filter(|_| drafts != Drafts::None),
            limits: Limits { max_sequences, prefill_tokens, drafts },
            kv_bytes: self.kv_mib.map(|mib| u64::from(mib) << 20),
            context: self.context_tokens,
            overrides: self.overrides,
            hang: std::env::var_os(hanging::VARIABLE).map(PathBuf::from),
            null: std::env::var_os("MLXD_WORKER_RUNNER").is_some_and(|runner| runner == "null"),
        }
    }
}
