//! Calls to models that read texts and write none.

use std::sync::Arc;
use std::time::Duration;

use ipc_proto::Result;
use ipc_proto::embed::{EmbedRequest, Embeddings, RerankRequest, Scores};

use super::call::{Target, answered};
use super::link::Link;
use super::{Local, deadline};

/// Many long texts take minutes on a CPU. A client that leaves drops the call and the work.
const READING_DEADLINE: Duration = Duration::from_secs(3600);

impl Local {
    /// Texts → vectors.
    ///
    /// # Errors
    /// Unknown or broken model, one that does not embed, a request that does not fit it, a worker that is gone.
    pub async fn embed(self: &Arc<Self>, target: Target, request: &EmbedRequest) -> Result<Embeddings> {
        let call = async |link: Arc<Link>| {
            answered(link.client().embed(deadline(READING_DEADLINE), request.clone())).await
        };
        self.call_and_keep(target, call).await
    }

    /// Pairs of texts → scores.
    ///
    /// # Errors
    /// As [`Self::embed`].
    pub async fn rerank(self: &Arc<Self>, target: Target, request: &RerankRequest) -> Result<Scores> {
        let call = async |link: Arc<Link>| {
            answered(link.client().rerank(deadline(READING_DEADLINE), request.clone())).await
        };
        self.call_and_keep(target, call).await
    }
}
