//! The life of a runner: start, serve, drain, stop.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use ipc_proto::socket;
use ipc_proto::{Error, ErrorKind, Origin};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::arguments::Arguments;
use crate::health;
use crate::program::Program;
use crate::proxy::{self, Traffic};
use crate::service::Service;

/// Pause between two checks of a program that serves.
const CHECK: Duration = Duration::from_secs(10);
/// Checks without an answer in a row after which the program counts as hung.
const SILENT_CHECKS: u32 = 3;
/// Time for the last bytes of a program that has ended.
const LAST_BYTES: Duration = Duration::from_millis(300);
/// The exit status if the program has ended or hangs.
const LOST: i32 = 1;

/// Serves until a stop signal or the end of the program. Returns the exit status.
///
/// # Errors
/// A socket cannot be used, or the program cannot be started at all.
pub async fn run(arguments: &Arguments) -> anyhow::Result<i32> {
    let calls = listen(&arguments.socket)?;
    let connections = listen(&arguments.http)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut program = Program::start(&arguments.command).context("cannot start the program")?;
    tracing::info!(model = arguments.name, port = program.port, program = arguments.command[0], "starting");
    let (outcome, started) = watch::channel(None);
    let traffic = Arc::new(Traffic::default());
    tokio::spawn(Service::new(started, Arc::clone(&traffic)).serve(calls));
    let mut stop = pin!(terminate.recv());
    let (port, limit) = (program.port, Duration::from_secs(arguments.start_seconds));
    let ready = tokio::select! {
        ready = health::wait(port, &arguments.health, limit) => ready,
        status = program.wait() => return Ok(lost(&status)),
        _ = &mut stop => {
            program.stop().await;
            return Ok(0);
        }
    };
    if let Err(problem) = ready {
        outcome.send_replace(Some(Err(late(arguments, &problem))));
        program.stop().await;
        // The supervisor fetches the reason, and then stops this process.
        stop.await;
        return Ok(LOST);
    }
    let serving = tokio::spawn(proxy::serve(connections, port, Arc::clone(&traffic)));
    outcome.send_replace(Some(Ok(())));
    tokio::select! {
        status = program.wait() => {
            serving.abort();
            // Its last bytes may still be on their way to the clients.
            let _ = timeout(LAST_BYTES, traffic.wait_idle()).await;
            return Ok(lost(&status));
        }
        () = silence(port, &arguments.health, &traffic) => {
            tracing::error!("the program is idle and does not answer its health check: it is ended");
            return Ok(LOST);
        }
        _ = &mut stop => {}
    }
    tracing::info!("draining");
    serving.abort();
    std::fs::remove_file(&arguments.http).ok();
    tokio::select! {
        status = program.wait() => return Ok(lost(&status)),
        () = traffic.wait_idle() => {}
    }
    program.stop().await;
    Ok(0)
}

fn listen(path: &Path) -> anyhow::Result<tokio::net::UnixListener> {
    socket::listen(path).with_context(|| format!("cannot listen on {}", path.display()))
}

fn lost(status: &str) -> i32 {
    tracing::error!(status, "the program has ended");
    LOST
}

fn late(arguments: &Arguments, problem: &str) -> Error {
    let (path, seconds) = (&arguments.health, arguments.start_seconds);
    let text = format!(
        "its program was not ready within {seconds} s (GET {path}: {problem}). Its output is in the server's log: `mlxd logs {}`. If it \
         needs longer, raise start_seconds",
        arguments.name
    );
    Error::new(ErrorKind::Unavailable, Origin::Worker, text)
}

/// Returns once the program has not answered several checks in a row. A program with requests is not checked: many answer one at a
/// time.
async fn silence(port: u16, path: &str, traffic: &Traffic) {
    let mut silent = 0;
    while silent < SILENT_CHECKS {
        tokio::time::sleep(CHECK).await;
        let answered = !traffic.is_idle() || health::status(port, path).await.is_ok();
        silent = if answered { 0 } else { silent + 1 };
    }
}
