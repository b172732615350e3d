//! `mlxd-hub`: searches Hugging Face's hub, and downloads models for the server. `mlxd serve` starts it when it is needed.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use hub::service::{self, Setup};
use ipc_proto::{core_files, lifeline};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Searches Hugging Face's hub and downloads models, by order of the supervisor.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The socket for the supervisor's calls.
    #[arg(long)]
    socket: PathBuf,
    /// The folder with the list of downloads.
    #[arg(long)]
    home: PathBuf,
    /// The settings, a JSON document. The supervisor passes a pipe.
    #[arg(long)]
    config: PathBuf,
    /// Memory that all models may have together, in bytes.
    #[arg(long)]
    budget: u64,
    /// Exit when standard input ends.
    #[arg(long)]
    lifeline: bool,
}

fn main() -> anyhow::Result<()> {
    core_files::forbid();
    let arguments = Arguments::parse();
    let filter =
        EnvFilter::try_from_env("MLXD_LOG").unwrap_or_else(|_| EnvFilter::new(ipc_proto::DEFAULT_LOG));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    if arguments.lifeline {
        lifeline::watch()?;
    }
    let Arguments { socket, home, config, budget, .. } = arguments;
    let problem = || format!("cannot read the settings from {}", config.display());
    let document = fs::read(&config).with_context(problem)?;
    let config = serde_json::from_slice(&document).with_context(problem)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let served = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let stop = async {
            terminate.recv().await;
        };
        service::serve(Setup { socket, home, budget, config }, stop).await
    });
    // A write that hangs must not hold up the end.
    runtime.shutdown_background();
    Ok(served?)
}
