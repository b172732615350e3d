//! Answers the gateway's control connections.

use futures::StreamExt;
use ipc_proto::Result;
use ipc_proto::socket::{self, Channel};
use ipc_proto::supervisor::{ModelEntry, Supervisor, WorkerAddress};
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
    async fn ensure_ready(self, _: Context, model: String) -> Result<WorkerAddress> {
        self.0.ensure_ready(model).await
    }

    async fn models(self, _: Context) -> Vec<ModelEntry> {
        self.0.models().await
    }
}
