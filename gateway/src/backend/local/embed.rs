//! Calls of models that read texts.

use std::time::Duration;

use ipc_proto::embed::{EmbedRequest, Embeddings, RerankRequest, Scores};
use ipc_proto::worker::WorkerClient;
use ipc_proto::{ErrorKind, Result};
use tarpc::client::RpcError;
use tarpc::context::Context;

use super::{Local, TRIES, deadline, lost};

/// Many long texts take minutes on a CPU; whoever waits can leave, which drops the call and the work.
const READING_DEADLINE: Duration = Duration::from_secs(3600);

impl Local {
    /// Texts → vectors.
    ///
    /// # Errors
    /// Unknown or broken model, one that does not embed, a request that does not fit it, a worker that is gone.
    pub async fn embed(&self, model: &str, request: &EmbedRequest) -> Result<Embeddings> {
        let call = |client: WorkerClient, context| {
            let request = request.clone();
            async move { client.embed(context, request).await }
        };
        self.read(model, call).await
    }

    /// Pairs of texts → scores.
    ///
    /// # Errors
    /// As [`Self::embed`].
    pub async fn rerank(&self, model: &str, request: &RerankRequest) -> Result<Scores> {
        let call = |client: WorkerClient, context| {
            let request = request.clone();
            async move { client.rerank(context, request).await }
        };
        self.read(model, call).await
    }

    /// Offers a call to the model's worker. Nothing of it is told to the client before its end, so it is offered again where
    /// the worker has died.
    async fn read<T, F>(&self, model: &str, call: impl Fn(WorkerClient, Context) -> F) -> Result<T>
    where
        F: Future<Output = std::result::Result<Result<T>, RpcError>>,
    {
        let (mut tries, mut without) = (0, None);
        loop {
            tries += 1;
            let link = self.link_for(model, 0, without).await?;
            let answer = call(link.client().clone(), deadline(READING_DEADLINE)).await;
            match answer.map_err(|e| lost("the worker", &e)).flatten() {
                Err(error) if error.kind == ErrorKind::Unavailable && tries < TRIES => {
                    without = Some(link.incarnation());
                    link.close();
                }
                outcome => return outcome,
            }
        }
    }
}
