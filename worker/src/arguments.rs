//! The worker's command line and the engine options that follow from it.

use std::path::PathBuf;

use clap::Parser;
use clap::builder::RangedU64ValueParser;

use crate::engine::admission_limits::AdmissionLimits;
use crate::engine::scheduler::{Drafts, StepLimits};
use crate::engine_thread::Options;
use crate::text::model_formats::Overrides;

/// Default number of tokens that a draft model proposes.
const DRAFT_TOKENS: usize = 4;

/// Serves one MLX model on a Unix socket.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Arguments {
    /// Model folder.
    #[arg(long)]
    pub model: PathBuf,
    /// Folder of a LoRA, DoRA or full adapter in mlx-lm's format.
    #[arg(long, value_name = "DIR")]
    adapter: Option<PathBuf>,
    /// Path of the Unix socket to listen on.
    #[arg(long)]
    pub socket: PathBuf,
    /// Model name, for logs and the process list.
    #[arg(long, default_value = "")]
    pub name: String,
    /// Maximum number of running requests; more wait.
    #[arg(long, default_value_t = 32, value_parser = at_least_one())]
    max_sequences: usize,
    /// Maximum number of prompt tokens in a step.
    #[arg(long, default_value_t = 512, value_parser = at_least_one())]
    prefill_tokens: usize,
    /// Number of tokens to draft for each request, by prompt lookup or with the draft model [default: 0, with a draft model
    /// 4].
    #[arg(long, value_parser = RangedU64ValueParser::<usize>::new().range(..=16))]
    draft_tokens: Option<usize>,
    /// Folder of a smaller model with the same tokenizer, as the draft model.
    #[arg(long, value_name = "DIR")]
    draft_model: Option<PathBuf>,
    /// Maximum number of waiting requests; more are refused. For an encoder: the maximum number of requests, at least one.
    #[arg(long, default_value_t = 256)]
    max_waiting: usize,
    /// Memory for the KV cache, in MiB [default: eight full contexts, at most an eighth of the machine's memory].
    #[arg(long)]
    kv_mib: Option<u32>,
    /// Maximum prompt plus output, in tokens [default: the model's limit].
    #[arg(long, value_parser = clap::value_parser!(u32).range(16..))]
    context_tokens: Option<u32>,
    #[command(flatten)]
    overrides: Overrides,
    /// Seconds that running requests may take to end after SIGTERM.
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
    /// The limits for running and waiting requests.
    pub fn admission_limits(&self) -> AdmissionLimits {
        AdmissionLimits::new(self.max_sequences, self.max_waiting)
    }

    /// The options of the engine thread.
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
            limits: StepLimits { max_sequences, prefill_tokens, drafts },
            kv_bytes: self.kv_mib.map(|mib| u64::from(mib) << 20),
            context: self.context_tokens,
            overrides: self.overrides,
        }
    }
}
