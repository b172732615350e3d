//! What the supervisor is asked on behalf of whoever runs the server.

use ipc_proto::Result;
use ipc_proto::supervisor::{KeepAlive, ModelSettings, Pool, Restart, Want};
use tarpc::client::RpcError;

use super::{CALL_DEADLINE, LOADING_DEADLINE, Local, deadline, unreachable};

impl Local {
    /// Loads a model and connects to it.
    ///
    /// # Errors
    /// Unknown or broken model, no memory for it.
    pub async fn load(&self, model: &str, keep_alive: Option<KeepAlive>) -> Result<()> {
        self.ensure_ready(Want { keep_alive, ..Want::model(model) }).await?;
        self.ready(model).await
    }

    /// Ends a model's workers and returns once their memory is back.
    ///
    /// # Errors
    /// Unknown model.
    pub async fn unload(&self, model: String, force: bool) -> Result<()> {
        answered(self.supervisor().await?.unload(deadline(LOADING_DEADLINE), model, force).await)
    }

    /// Starts something anew.
    ///
    /// # Errors
    /// Unknown or broken model.
    pub async fn restart(&self, what: Restart) -> Result<()> {
        answered(self.supervisor().await?.restart(deadline(LOADING_DEADLINE), what).await)
    }

    /// Says whether a model may be evicted.
    ///
    /// # Errors
    /// Unknown model.
    pub async fn pin(&self, model: String, pinned: bool) -> Result<()> {
        answered(self.supervisor().await?.pin(deadline(CALL_DEADLINE), model, pinned).await)
    }

    /// Says how long a running model stays when it falls idle.
    ///
    /// # Errors
    /// Unknown model.
    pub async fn keep_alive(&self, model: String, keep: KeepAlive) -> Result<()> {
        answered(self.supervisor().await?.keep_alive(deadline(CALL_DEADLINE), model, keep).await)
    }

    /// A model's settings as they are in force.
    ///
    /// # Errors
    /// Unknown model.
    pub async fn settings(&self, model: String) -> Result<ModelSettings> {
        answered(self.supervisor().await?.settings(deadline(CALL_DEADLINE), model).await)
    }

    /// Replaces a model's settings.
    ///
    /// # Errors
    /// Unknown model, a value that is none.
    pub async fn set_settings(&self, model: String, settings: ModelSettings) -> Result<()> {
        answered(self.supervisor().await?.set_settings(deadline(CALL_DEADLINE), model, settings).await)
    }

    /// The memory budget and who has what of it.
    ///
    /// # Errors
    /// When the supervisor does not answer.
    pub async fn pool(&self) -> Result<Pool> {
        self.supervisor().await?.pool(deadline(CALL_DEADLINE)).await.map_err(|e| unreachable(&e))
    }
}

fn answered<T>(answer: std::result::Result<Result<T>, RpcError>) -> Result<T> {
    answer.map_err(|e| unreachable(&e)).flatten()
}
