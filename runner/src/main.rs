//! `mlxd-runner`: runs a program that serves a model over HTTP. `mlxd serve` starts it for each of its backends.

use anyhow::Context;
use clap::Parser;
use ipc_proto::lifeline::exit_now;
use runner::arguments::Arguments;
use runner::{group, run};
use tracing_subscriber::EnvFilter;

fn main() -> anyhow::Result<()> {
    if let Some(status) = group::replace_if_asked(std::env::args().skip(1)) {
        exit_now(status);
    }
    let arguments = Arguments::parse();
    let filter =
        EnvFilter::try_from_env("MLXD_LOG").unwrap_or_else(|_| EnvFilter::new(ipc_proto::DEFAULT_LOG));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    if arguments.lifeline {
        group::watch().context("cannot watch the supervisor")?;
    }
    // One thread: the kernel kills a child when the thread that started it ends.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let status = runtime.block_on(run::run(&arguments));
    for path in [&arguments.socket, &arguments.http] {
        std::fs::remove_file(path).ok();
    }
    exit_now(status?)
}
