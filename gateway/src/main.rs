//! `mlxd-gateway`: HTTP in front of the workers. Started by `mlxd serve`, and by `mlxd show` to render one prompt.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt;
use clap::Parser;
use gateway::audit::{bus, sink};
use gateway::backend::local::{Local, RECOVERIES};
use gateway::closable_listener::ClosableListener;
use gateway::db::Db;
use gateway::middleware::auth::Keys;
use gateway::middleware::cors;
use gateway::responses::Responses;
use gateway::shutdown::{Signals, Stage};
use gateway::state::AppState;
use gateway::{listener, render, router};
use ipc_proto::lifeline;
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

/// Serves the HTTP API on a socket that the supervisor has bound.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The number of the inherited, listening descriptor.
    #[arg(long)]
    listen_fd: i32,
    /// The supervisor's socket.
    #[arg(long)]
    supervisor: PathBuf,
    /// Where the database lives.
    #[arg(long)]
    home: PathBuf,
    /// Times a request may be given to another worker because the one it had was lost.
    #[arg(long, default_value_t = RECOVERIES)]
    recoveries: u32,
    /// Days for which a response that a client asks to keep is kept.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    response_days: u32,
    /// Seconds for which running requests may go on when another gateway takes the new ones.
    #[arg(long, default_value_t = 600)]
    drain_seconds: u32,
    /// Exit when standard input ends.
    #[arg(long)]
    lifeline: bool,
}

fn main() -> anyhow::Result<()> {
    if std::env::args().nth(1).as_deref() == Some(render::COMMAND) {
        std::process::exit(render::run()?);
    }
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_env("MLXD_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    if arguments.lifeline {
        lifeline::watch()?;
    }
    let listener = listener::inherited(arguments.listen_fd)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(serve(arguments, listener))
}

async fn serve(arguments: Arguments, listener: std::net::TcpListener) -> anyhow::Result<()> {
    let (gate, closed) = tokio::sync::watch::channel(false);
    let listener = ClosableListener::new(TcpListener::from_std(listener)?, closed).tap_io(|stream| {
        // Tokens are small writes: they must not wait for each other. A socket that is closing may refuse.
        let _ = stream.set_nodelay(true);
    });
    let db = Db::new(&arguments.home);
    if let Err(error) = db.open().await {
        tracing::error!(%error, "until the database can be opened no request is recorded and no response kept");
    }
    let (audit, outlet) = bus::bus();
    let sink = tokio::spawn(sink::run(outlet, db.clone()));
    let keys = Keys::parse(&std::env::var("MLXD_API_KEYS").unwrap_or_default());
    let responses = Arc::new(Responses::new(db.clone(), &arguments.home, arguments.response_days));
    let local = Arc::new(Local::new(arguments.supervisor).with_recoveries(arguments.recoveries));
    tokio::spawn(Arc::clone(&local).follow());
    let making = Arc::clone(&responses);
    let state = AppState {
        local: Arc::clone(&local),
        audit,
        keys: Arc::new(keys),
        responses,
        idempotency: Arc::default(),
    };
    let drain = Duration::from_secs(arguments.drain_seconds.into());
    let (stage, mut draining) = tokio::sync::watch::channel(Stage::Serving);
    let mut over = draining.clone();
    tokio::spawn(Signals::heed()?.obey(gate, local, drain, stage));
    let origins = std::env::var("MLXD_CORS_ORIGINS").unwrap_or_default();
    let cors = cors::layer(&origins).map_err(|problem| anyhow::anyhow!("MLXD_CORS_ORIGINS: {problem}"))?;
    let router = router::router(state);
    // Outermost: a browser's question whether it may ask carries no key.
    let router = if let Some(cors) = cors { router.layer(cors) } else { router };
    let server = axum::serve(listener, router).with_graceful_shutdown(async move {
        let _ = draining.wait_for(|stage| *stage >= Stage::Draining).await;
    });
    let served = async {
        server.await?;
        // What is made while nobody waits has as long as what somebody waits for.
        making.idle().await;
        Ok::<_, std::io::Error>(())
    };
    tokio::select! {
        ended = served => ended?,
        _ = over.wait_for(|stage| *stage == Stage::Over) => tracing::warn!("requests still running are cut off"),
    }
    // Requests that were cut off report as they are dropped, and what is made while nobody waits is kept as far as it came: a
    // moment is enough for that.
    let _ =
        tokio::time::timeout(Duration::from_millis(500), async { tokio::join!(making.idle(), sink) }).await;
    db.close().await;
    Ok(())
}
