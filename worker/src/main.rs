//! `mlxd-worker`: serves one model. `mlxd serve` starts it; start it by hand only for debugging. It also converts models.

use std::ffi::OsStr;
use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use ipc_proto::lifeline::{self, exit_now};
use ipc_proto::socket;
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;
use worker::arguments::Arguments;
use worker::engine::counters::Counters;
use worker::engine_thread::{self, Ended};
use worker::quantize;
use worker::rpc::Server;
use worker::shutdown::{drain, stop_signal};

fn main() -> anyhow::Result<()> {
    if std::env::args_os().nth(1).is_some_and(|first| first == "quantize") {
        exit_now(quantize::command::run(std::env::args_os().skip(1)))
    }
    if let Some(answer) = question()? {
        return Ok(serde_json::to_writer(std::io::stdout(), &answer)?);
    }
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_env("MLXD_LOG").or_else(|_| EnvFilter::try_from_default_env());
    let filter = filter.unwrap_or_else(|_| EnvFilter::new(ipc_proto::DEFAULT_LOG));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    arguments.lifeline.then(lifeline::watch).transpose().context("cannot watch the supervisor")?;
    worker::stacks::write_at_abort().context("cannot prepare for an abort")?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    // Chat templates are rendered on its threads.
    runtime.thread_stack_size(chat_template::STACK_BYTES);
    let runtime = runtime.worker_threads(2).max_blocking_threads(4).enable_all().build()?;
    // Exit without MLX's exit handlers: the engine thread may still be computing.
    exit_now(runtime.block_on(serve(arguments))?)
}

/// The answer to a question about this machine, which needs no model: `mlxd doctor` asks the first, the supervisor the second.
fn question() -> anyhow::Result<Option<serde_json::Value>> {
    let first = std::env::args_os().nth(1);
    Ok(match first.as_deref().and_then(OsStr::to_str) {
        Some("doctor") => Some(worker::doctor::report()?),
        Some("device") => Some(worker::doctor::device()),
        _ => None,
    })
}

/// Serves until a stop signal or the end of the engine; returns the exit status.
async fn serve(arguments: Arguments) -> anyhow::Result<i32> {
    let path = &arguments.socket;
    let listener = socket::listen(path).with_context(|| format!("cannot listen on {}", path.display()))?;
    tracing::info!(model = arguments.name, folder = %arguments.model.display(), "loading");
    let (commands, queue) = mpsc::channel();
    let (outcome, loading) = watch::channel(None);
    let counters = Arc::new(Counters::default());
    let server =
        Server::new(loading.clone(), commands.clone(), Arc::clone(&counters), arguments.admission_limits());
    let mut ended = engine_thread::spawn(arguments.options(), queue, outcome, counters)?;
    let services = tokio::spawn(server.clone().serve(listener));
    // One future from here on: a signal that comes while none listens would be lost.
    let mut stop = pin!(stop_signal(arguments.lifeline));
    let early = tokio::select! {
        signal = &mut stop => signal.map(|()| None)?,
        early = &mut ended => Some(early),
    };
    let broken = matches!(*loading.borrow(), Some(Err(_)));
    let status = match early {
        // Keep answering calls with the load error until the supervisor stops this process.
        Some(Ok(Ended::NotLoaded)) => stop.await.map(|()| 1)?,
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
