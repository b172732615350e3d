//! Answers the gateway's control connections.

use futures::StreamExt;
use ipc_proto::socket::{self, Channel};
use ipc_proto::supervisor::{
    Changes, KeepAlive, ModelEntry, ModelSettings, Pool, Restart, Supervisor, Want, WorkerAddress,
};
use ipc_proto::{Error, ErrorKind, Result, Source};
use tarpc::context::Context;
use tarpc::server::{BaseChannel, Channel as _};
use tokio::net::{UnixListener, UnixStream};

use crate::fleet::Fleet;

/// Serves every connection to `listener`.
pub(crate) async fn serve(listener: UnixListener, fleet: Fleet) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(connection(stream, fleet.clone()))),
            Err(error) => {
                tracing::error!(%error, "cannot accept a control connection");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(stream: UnixStream, fleet: Fleet) {
    let stream = match socket::welcome(stream).await {
        Ok((Channel::Control, stream)) => stream,
        Ok((Channel::Steps, _)) => return tracing::warn!("the supervisor sends no step frames"),
        Err(error) => return tracing::warn!(%error, "a connection was refused"),
    };
    let calls = BaseChannel::with_defaults(socket::framed(stream)).execute(Server(fleet).serve());
    calls.for_each(|call| async { drop(tokio::spawn(call)) }).await;
}

#[derive(Clone)]
struct Server(Fleet);

impl Supervisor for Server {
    async fn ensure_ready(self, _: Context, want: Want) -> Result<Vec<WorkerAddress>> {
        self.0.ensure_ready(want.model).await.map(|address| vec![address])
    }

    async fn models(self, _: Context) -> Vec<ModelEntry> {
        self.0.models().await
    }

    async fn keep_alive(self, _: Context, _: String, _: KeepAlive) -> Result<()> {
        Err(not_there("keep_alive"))
    }

    async fn unload(self, _: Context, _: String, _: bool) -> Result<()> {
        Err(not_there("unload"))
    }

    async fn restart(self, _: Context, _: Restart) -> Result<()> {
        Err(not_there("restart"))
    }

    async fn pin(self, _: Context, _: String, _: bool) -> Result<()> {
        Err(not_there("pin"))
    }

    async fn stop(self, _: Context) {}

    async fn pool(self, _: Context) -> Pool {
        Pool::default()
    }

    async fn watch(self, _: Context, revision: u64) -> Changes {
        if revision > 0 {
            tokio::time::sleep(std::time::Duration::from_secs(20)).await;
        }
        Changes { revision: 1, ..Changes::default() }
    }

    async fn settings(self, _: Context, _: String) -> Result<ModelSettings> {
        Ok(ModelSettings::default())
    }

    async fn set_settings(self, _: Context, _: String, _: ModelSettings) -> Result<()> {
        Err(not_there("set_settings"))
    }
}

fn not_there(what: &str) -> Error {
    Error::new(ErrorKind::InvalidRequest, Source::Supervisor, format!("{what} is not supported"))
}
