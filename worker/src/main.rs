//! `mlxd-worker`: serves one model. Started by `mlxd serve`; by hand for debugging.

use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use clap::builder::RangedU64ValueParser;
use ipc_proto::lifeline::{self, exit_now};
use ipc_proto::socket;
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;
use worker::adapters::dialect::Overrides;
use worker::engine::counters::Counters;
use worker::engine::scheduler::{Drafts, Limits};
use worker::engine_thread::{self, Ended, Options};

use worker::rpc::Server;
use worker::shutdown::{drain, told_to_stop};

/// Serves one MLX model on a Unix socket.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The model's folder.
    #[arg(long)]
    model: PathBuf,
    /// The folder of a LoRA, DoRA or full adapter in mlx-lm's format, to lay over the model.
    #[arg(long, value_name = "DIR")]
    adapter: Option<PathBuf>,
    /// Where to listen.
    #[arg(long)]
    socket: PathBuf,
    /// The model's name, for logs and the process list.
    #[arg(long, default_value = "")]
    name: String,
    /// Requests that generate at once; more wait.
    #[arg(long, default_value_t = 32, value_parser = at_least_one())]
    max_sequences: usize,
    /// Prompt tokens computed in one step.
    #[arg(long, default_value_t = 512, value_parser = at_least_one())]
    prefill_tokens: usize,
    /// Tokens to guess ahead for each request, from what its own text repeats [default: none].
    #[arg(long, default_value_t = 0, value_parser = RangedU64ValueParser::<usize>::new().range(..=16))]
    draft_tokens: usize,
    /// Requests that may wait; more are refused.
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
    drain_seconds: u64,
    /// Exit when standard input ends or the parent dies; leave SIGINT to the parent.
    #[arg(long)]
    lifeline: bool,
}

fn at_least_one() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_env("MLXD_LOG").or_else(|_| EnvFilter::try_from_default_env());
    let filter = filter.unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    arguments.lifeline.then(lifeline::watch).transpose().context("cannot watch the supervisor")?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).max_blocking_threads(4).enable_all().build()?;
    // MLX's exit handlers must not run while the engine's thread might still compute.
    exit_now(runtime.block_on(serve(arguments))?)
}

/// Serves until told to stop; returns the exit status.
async fn serve(arguments: Arguments) -> anyhow::Result<i32> {
    let path = &arguments.socket;
    let listener = socket::listen(path).with_context(|| format!("cannot listen on {}", path.display()))?;
    tracing::info!(model = arguments.name, folder = %arguments.model.display(), "loading");
    let (commands, queue) = mpsc::channel();
    let (outcome, loading) = watch::channel(None);
    let counters = Arc::new(Counters::default());
    let server = Server::new(loading.clone(), commands.clone(), Arc::clone(&counters), arguments.max_waiting);
    let mut ended = engine_thread::spawn(options(&arguments), queue, outcome, counters)?;
    let services = tokio::spawn(server.clone().serve(listener));
    let early = tokio::select! {
        told = told_to_stop(arguments.lifeline) => told.map(|()| None)?,
        early = &mut ended => Some(early),
    };
    let broken = matches!(*loading.borrow(), Some(Err(_)));
    let status = match early {
        // Whoever asks is told why, until the supervisor has had enough.
        Some(Ok(Ended::NotLoaded)) => told_to_stop(arguments.lifeline).await.map(|()| 1)?,
        Some(_) => 70,
        None if broken => 1,
        None if loading.borrow().is_none() => 0,
        None => {
            services.abort();
            std::fs::remove_file(path).ok();
            drain(&commands, &mut ended, &server, Duration::from_secs(arguments.drain_seconds)).await;
            0
        }
    };
    std::fs::remove_file(path).ok();
    Ok(status)
}

fn options(arguments: &Arguments) -> Options {
    let Arguments { max_sequences, prefill_tokens, .. } = *arguments;
    let drafts = match arguments.draft_tokens {
        0 => Drafts::None,
        tokens => Drafts::LookUp(tokens),
    };
    Options {
        folder: arguments.model.clone(),
        adapter: arguments.adapter.clone(),
        limits: Limits { max_sequences, prefill_tokens, drafts },
        kv_bytes: arguments.kv_mib.map(|mib| u64::from(mib) << 20),
        context: arguments.context_tokens,
        overrides: arguments.overrides,
        null: std::env::var_os("MLXD_WORKER_RUNNER").is_some_and(|runner| runner == "null"),
    }
}
