//! Calls that a worker answers at once. Nothing of them reaches the client before their end, so one is offered again where the
//! worker was lost, as often as any other request: it may be what workers die of.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ipc_proto::supervisor::{KeepAlive, Want};
use ipc_proto::{Disposition, Result};
use tarpc::client::RpcError;

use super::link::Link;
use super::{Local, lost};
use crate::backend::late;

/// The model that a call is for, and how long both may take.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// Id or alias.
    pub model: String,
    /// How long the model stays when it falls idle, where the request says.
    pub keep_alive: Option<KeepAlive>,
    /// Milliseconds after which the call has failed, loading included.
    pub time_limit_ms: Option<u32>,
    /// Counts how often it was given to another worker.
    pub recoveries: Arc<AtomicU32>,
}

/// What a worker answers to one call.
pub(super) async fn answered<T>(
    call: impl Future<Output = std::result::Result<Result<T>, RpcError>>,
) -> Result<T> {
    call.await.map_err(|e| lost("the worker", &e)).flatten()
}

impl Local {
    /// As [`Self::call_in_time`]; after it the model is to stay as the request says.
    pub(super) async fn call_and_keep<T, F>(
        self: &Arc<Self>,
        target: Target,
        call: impl Fn(Arc<Link>) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let answer = self.call_in_time(&target, call).await?;
        Arc::clone(self).keep(target.model, target.keep_alive);
        Ok(answer)
    }

    /// As [`Self::call_and_keep`], for what clients ask between their requests: a call that says nothing of keeping changes
    /// nothing that an earlier request said.
    pub(super) async fn call_between<T, F>(
        self: &Arc<Self>,
        target: Target,
        call: impl Fn(Arc<Link>) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let answer = self.call_in_time(&target, call).await?;
        if target.keep_alive.is_some() {
            Arc::clone(self).keep(target.model, target.keep_alive);
        }
        Ok(answer)
    }

    /// Offers a call to a worker of the model until one answers, within the time limit. Dropping it cancels it at the worker.
    async fn call_in_time<T, F>(&self, target: &Target, call: impl Fn(Arc<Link>) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let answer = async {
            tokio::select! {
                answer = self.call_until_answered(target, call) => answer,
                error = self.over() => Err(error),
            }
        };
        match target.time_limit_ms {
            Some(limit) => tokio::time::timeout(Duration::from_millis(limit.into()), answer)
                .await
                .map_err(|_| late())
                .flatten(),
            None => answer.await,
        }
    }

    async fn call_until_answered<T, F>(&self, target: &Target, call: impl Fn(Arc<Link>) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let Target { model, recoveries, .. } = target;
        let (mut left, mut want, mut excluded) = (self.recoveries, Want::model(model), Vec::new());
        loop {
            let link = self.link_for(&want, 0, &excluded).await?;
            let error = match call(Arc::clone(&link)).await {
                Err(error) if error.disposition == Disposition::RetryElsewhere => error,
                answer => return answer,
            };
            // Others may have requests running in it.
            link.retire();
            want.lost = Some(link.incarnation());
            excluded.push(link.incarnation());
            let Some(fewer) = left.checked_sub(1) else {
                self.counters.given_up.fetch_add(1, Ordering::Relaxed);
                tracing::error!(model, cause = %error, "a call was lost too often: given up");
                return Err(error);
            };
            left = fewer;
            recoveries.fetch_add(1, Ordering::Relaxed);
            self.counters.recoveries.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(model, left, cause = %error, "a call goes to another worker");
        }
    }
}
