//! Calls that are answered at once: models that read texts, and counting tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ipc_proto::embed::{EmbedRequest, Embeddings, RerankRequest, Scores};
use ipc_proto::generate::Prompt;
use ipc_proto::prompt::{RenderedPrompt, TokenizeRequest, Tokenized};
use ipc_proto::supervisor::{KeepAlive, Want};
use ipc_proto::{ErrorKind, Result};

use super::link::Link;
use super::{Local, deadline, lost};
use crate::backend::late;
use crate::validate::ValidPrompt;

/// Many long texts take minutes on a CPU; whoever waits can leave, which drops the call and the work.
const READING_DEADLINE: Duration = Duration::from_secs(3600);

/// Whom a call is for, and what is to be known of it.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// Id or alias.
    pub model: String,
    /// How long the model stays when it falls idle, where the request says.
    pub keep_alive: Option<KeepAlive>,
    /// Milliseconds after which the call has failed, loading included.
    pub time_limit_ms: Option<u32>,
    /// Counts how often it was given to another worker.
    pub recoveries: Arc<AtomicU32>,
}

impl Local {
    /// Texts → vectors.
    ///
    /// # Errors
    /// Unknown or broken model, one that does not embed, a request that does not fit it, a worker that is gone.
    pub async fn embed(self: &Arc<Self>, reading: Reading, request: &EmbedRequest) -> Result<Embeddings> {
        let call = |link: Arc<Link>| {
            let request = request.clone();
            async move {
                let answer = link.client().embed(deadline(READING_DEADLINE), request).await;
                answer.map_err(|e| lost("the worker", &e)).flatten()
            }
        };
        self.call_and_keep(reading, call).await
    }

    /// Pairs of texts → scores.
    ///
    /// # Errors
    /// As [`Self::embed`].
    pub async fn rerank(self: &Arc<Self>, reading: Reading, request: &RerankRequest) -> Result<Scores> {
        let call = |link: Arc<Link>| {
            let request = request.clone();
            async move {
                let answer = link.client().rerank(deadline(READING_DEADLINE), request).await;
                answer.map_err(|e| lost("the worker", &e)).flatten()
            }
        };
        self.call_and_keep(reading, call).await
    }

    /// Tokens of a prompt as its model would see it.
    ///
    /// # Errors
    /// Unknown or broken model, a prompt that its template refuses.
    pub async fn count_tokens(self: &Arc<Self>, prompt: ValidPrompt) -> Result<u32> {
        self.inspect(prompt, async |link, prompt| link.count_tokens(prompt).await).await
    }

    /// A prompt as its model would see it.
    ///
    /// # Errors
    /// As [`Self::count_tokens`].
    pub async fn render(self: &Arc<Self>, prompt: ValidPrompt) -> Result<RenderedPrompt> {
        self.inspect(prompt, async |link, prompt| {
            let rendered = link.client().render(deadline(READING_DEADLINE), prompt).await;
            rendered.map_err(|e| lost("the worker", &e)).flatten()
        })
        .await
    }

    /// Text or prompt → token ids.
    ///
    /// # Errors
    /// As [`Self::count_tokens`].
    pub async fn tokenize(self: &Arc<Self>, model: String, request: TokenizeRequest) -> Result<Tokenized> {
        let call = |link: Arc<Link>| {
            let request = request.clone();
            async move {
                let tokenized = link.client().tokenize(deadline(READING_DEADLINE), request).await;
                tokenized.map_err(|e| lost("the worker", &e)).flatten()
            }
        };
        self.call(&Reading { model, ..Reading::default() }, call).await
    }

    /// Token ids → text.
    ///
    /// # Errors
    /// Unknown or broken model, token ids that it does not have.
    pub async fn detokenize(self: &Arc<Self>, model: String, tokens: Vec<u32>) -> Result<String> {
        let call = |link: Arc<Link>| {
            let tokens = tokens.clone();
            async move {
                let text = link.client().detokenize(deadline(READING_DEADLINE), tokens).await;
                text.map_err(|e| lost("the worker", &e)).flatten()
            }
        };
        self.call(&Reading { model, ..Reading::default() }, call).await
    }

    /// A call about a prompt that is not continued.
    async fn inspect<T>(
        self: &Arc<Self>,
        prompt: ValidPrompt,
        call: impl AsyncFn(Arc<Link>, Prompt) -> Result<T>,
    ) -> Result<T> {
        let ValidPrompt { model, prompt, keep_alive, time_limit_ms } = prompt;
        let reading = Reading { model, keep_alive, time_limit_ms, ..Reading::default() };
        let answer = self.call_in_time(&reading, |link| call(link, prompt.clone())).await?;
        // Clients look between their requests: one that says nothing takes nothing back.
        if reading.keep_alive.is_some() {
            Arc::clone(self).keep(reading.model, reading.keep_alive);
        }
        Ok(answer)
    }

    /// As [`Self::call_in_time`]; after it the model is to stay as the request says.
    async fn call_and_keep<T, F>(
        self: &Arc<Self>,
        reading: Reading,
        call: impl Fn(Arc<Link>) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let answer = self.call_in_time(&reading, call).await?;
        Arc::clone(self).keep(reading.model, reading.keep_alive);
        Ok(answer)
    }

    /// As [`Self::call`], within its time limit. Dropping a call cancels it at the worker.
    async fn call_in_time<T, F>(&self, reading: &Reading, call: impl Fn(Arc<Link>) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let called = self.call(reading, call);
        match reading.time_limit_ms {
            Some(limit) => tokio::time::timeout(Duration::from_millis(limit.into()), called)
                .await
                .map_err(|_| late())
                .flatten(),
            None => called.await,
        }
    }

    /// Offers a call to a worker of the model. Nothing of it is told to the client before its end, so it is offered again where
    /// the worker was lost, as often as any other request: it may be what workers die of.
    async fn call<T, F>(&self, reading: &Reading, call: impl Fn(Arc<Link>) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        tokio::select! {
            answer = self.call_until_answered(reading, call) => answer,
            error = self.over() => Err(error),
        }
    }

    async fn call_until_answered<T, F>(&self, reading: &Reading, call: impl Fn(Arc<Link>) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let Reading { model, recoveries, .. } = reading;
        let (mut left, mut want, mut shunned) = (self.recoveries, Want::model(model), Vec::new());
        loop {
            let link = self.link_for(&want, 0, &shunned).await?;
            let error = match call(Arc::clone(&link)).await {
                Err(error) if error.kind == ErrorKind::Unavailable => error,
                answer => return answer,
            };
            // Others may have requests running in it.
            link.retire();
            want.lost = Some(link.incarnation());
            shunned.push(link.incarnation());
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
