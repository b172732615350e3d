//! Models on this machine. The supervisor knows the workers, and a worker generates.
//!
//! A request uses a live link to one of the model's workers. If there is none, the backend asks the supervisor, which may start
//! workers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use ipc_proto::embed::{EmbedRequest, Embeddings, RerankRequest, Scores};
use ipc_proto::gateway::GatewayConfig;
use ipc_proto::generate::{Generation, Prompt, Submission};
use ipc_proto::prompt::{RenderedPrompt, TokenizeRequest, Tokenized};
use ipc_proto::supervisor::{Change, KeepAlive, Want};
use ipc_proto::{Disposition, Error, ErrorKind, Origin, Resource, Result};
use tracing::Instrument;

use super::{Attempt, Attempted, Backend, Call, Capabilities, EventStream, GenerateAttempt, Probe, Tried};
use crate::access::Tenant;
use crate::fleet::FleetClient;
use crate::fleet::client::deadline;
use crate::inference::course::Course;
use crate::inference::images::are_in;

mod balance;
mod fits;
mod images;
mod link;
mod missing;
mod worker_pool;

use balance::affinity;
use images::ImageFolder;
use link::{CALL_DEADLINE, Link, answer};
use worker_pool::WorkerPool;

/// Many long texts take minutes on a CPU. A client that leaves drops the call and the work.
const ENCODER_DEADLINE: Duration = Duration::from_secs(3600);
/// Tries to get a link, [`PAUSE`] apart. The supervisor needs about 50 ms to detect that a worker has died, and longer if the
/// kernel frees much memory.
const TRIES: u32 = 120;
/// The number of first [`TRIES`] that avoid the excluded workers. Later ones do not: a worker that the supervisor still calls
/// healthy may have lost only a connection.
const TRIES_ELSEWHERE: u32 = 100;
const PAUSE: Duration = Duration::from_millis(50);

/// The supervisor's workers.
pub struct LocalBackend {
    fleet: Arc<FleetClient>,
    /// Whether a request for a model of the hub begins its download.
    downloads: bool,
    /// The pools of models that had requests, by id and by used alias.
    pools: Mutex<HashMap<String, Arc<WorkerPool>>>,
    images: ImageFolder,
}

impl LocalBackend {
    /// A backend for the workers of this supervisor. `downloads`: a request for a model of the hub begins its download.
    pub fn new(fleet: Arc<FleetClient>, downloads: bool) -> Self {
        let images = ImageFolder::new(fleet.run_folder());
        Self { fleet, downloads, pools: Mutex::default(), images }
    }

    /// A backend as the settings say. Deletes the images of gateways that were killed.
    pub fn configured(fleet: &Arc<FleetClient>, config: &GatewayConfig) -> Self {
        let backend = Self::new(Arc::clone(fleet), config.auto_download);
        let images = backend.images.with_urls(config.images.urls.clone());
        images.delete_left();
        Self { images, ..backend }
    }

    /// Applies a change of a model's workers. Forgets the aliases of the model, because they may have changed.
    pub fn apply(&self, change: &Change) {
        let mut pools = self.pools();
        if let Some(pool) = pools.get(&change.model).cloned() {
            pool.set_workers(change.ready.clone());
            pools.retain(|name, other| *name == change.model || !Arc::ptr_eq(other, &pool));
        }
    }

    /// Returns once this process is connected to a worker of the model.
    ///
    /// # Errors
    /// Unknown or broken model, no memory for it.
    pub async fn connect(&self, model: &str) -> Result<()> {
        self.link(&Want::model(model), 0, &[]).await.map(drop)
    }

    /// A live link to a worker for a request of this affinity. If a worker was lost with the request, this asks the supervisor in
    /// any case: after an operator's unload no other worker may continue it.
    ///
    /// # Errors
    /// All are final: the tries are used up.
    async fn link(&self, want: &Want, affinity: u64, excluded: &[u64]) -> Result<Arc<Link>> {
        let model = &*want.model;
        let known = self.pools().get(model).cloned();
        if want.lost.is_none()
            && let Some(pool) = known
            && let Ok(link) = pool.link(model, affinity, excluded).await
        {
            return Ok(link);
        }
        let mut last = None;
        // A worker may die before this process connects to it.
        for tried in 0..TRIES {
            let addresses = match self.fleet.ensure_ready(want.clone()).await {
                Err(error) if self.downloads && error.kind == ErrorKind::NotFound(Resource::Model) => {
                    return Err(Box::pin(missing::download(&self.fleet, model, error)).await);
                }
                addresses => addresses?,
            };
            let pool = self.pool(model).await?;
            pool.set_workers(addresses);
            let excluded = if tried < TRIES_ELSEWHERE { excluded } else { &[] };
            match pool.link(model, affinity, excluded).await {
                Ok(link) => return Ok(link),
                Err(failure) => last = failure.or(last),
            }
            tokio::time::sleep(PAUSE).await;
        }
        let cause = last.map_or_else(String::new, |e| e.to_string());
        let text = format!("the worker for \"{model}\" is gone: {cause}");
        Err(Error::new(ErrorKind::Unavailable, Origin::Worker, text))
    }

    /// The worker pool of a model. An unknown name leaves no entry.
    async fn pool(&self, name: &str) -> Result<Arc<WorkerPool>> {
        if let Some(pool) = self.pools().get(name) {
            return Ok(Arc::clone(pool));
        }
        let id = self.fleet.model(name).await?.id;
        let mut pools = self.pools();
        let new = || Arc::new(WorkerPool::new(&id));
        let pool = Arc::clone(pools.entry(id.clone()).or_insert_with(new));
        pools.insert(name.to_owned(), Arc::clone(&pool));
        Ok(pool)
    }

    /// Notes the id of the model if `name` is only an alias.
    fn identify(&self, name: &str, course: &Course) {
        let id = self.pools().get(name).map(|pool| Arc::clone(pool.id()));
        if let Some(id) = id.filter(|id| **id != *name) {
            course.identify(id);
        }
    }

    fn pools(&self) -> MutexGuard<'_, HashMap<String, Arc<WorkerPool>>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends the keep-alive of this request to the supervisor, if it is new. Does not wait.
    fn send_keep_alive(&self, model: &str, keep: KeepAlive) {
        if !self.pools().get(model).is_some_and(|pool| pool.set_keep_alive(keep)) {
            return;
        }
        let (fleet, model) = (Arc::clone(&self.fleet), model.to_owned());
        let send = async move {
            if let Err(error) = fleet.keep_alive(model, keep).await {
                tracing::warn!(%error, "the supervisor did not take keep_alive");
            }
        };
        tokio::spawn(send.in_current_span());
    }

    async fn submit(&self, mut attempt: GenerateAttempt) -> Attempt<Vec<EventStream>> {
        attempt.need_neutral_form()?;
        if are_in(&attempt.generation.prompt) {
            // In a box: most requests have none, and a request that waits keeps its future.
            let whose = (&*attempt.model, &attempt.sender, &*attempt.course);
            Box::pin(self.prepare_images(whose, &mut attempt.generation.prompt)).await?;
        }
        let GenerateAttempt { model, request_id, cache_scope, mut generation, choices, .. } = attempt;
        generation.sampling.seed.get_or_insert(attempt.drawn_seed);
        let Tried { excluded, lost } = attempt.tried;
        let affinity = affinity(attempt.affinity.as_deref(), &cache_scope, &generation.prompt);
        let want = Want { priority: generation.priority, lost, ..Want::model(&model) };
        let link = self.link(&want, affinity, &excluded).await?;
        self.identify(&model, &attempt.course);
        // The dispatcher could not check it if the model was not loaded yet.
        self.check(&model, &generation)?;
        let submission = Box::new(Submission {
            request_id,
            cache_scope,
            tenant: attempt.sender.number(),
            generation,
            choices,
        });
        let attempted = attempted(&link, Arc::clone(&link).submit(submission).await);
        if attempted.outcome.is_ok() {
            // After the submission: a model with keep-alive 0 would be unloaded before it.
            self.send_keep_alive(&model, attempt.keep_alive.unwrap_or_default());
        }
        Ok(attempted)
    }

    /// Prompts with their images as the model's worker takes them.
    async fn prepared(&self, whose: (&str, &Tenant, &Course), prompts: &[Prompt]) -> Result<Vec<Prompt>> {
        let mut prompts = prompts.to_vec();
        for prompt in prompts.iter_mut().filter(|prompt| are_in(prompt)) {
            self.prepare_images(whose, prompt).await?;
        }
        Ok(prompts)
    }

    /// Makes a call at a worker. Dropping the future cancels the call there. `keep` is the model's new keep-alive, if any.
    async fn call<T, F>(
        &self,
        (model, tried, course): (&str, Tried, &Course),
        keep: Option<KeepAlive>,
        call: impl FnOnce(Arc<Link>) -> F + Send,
    ) -> Attempt<T>
    where
        F: Future<Output = Result<T>> + Send,
    {
        let want = Want { lost: tried.lost, ..Want::model(model) };
        let link = self.link(&want, 0, &tried.excluded).await?;
        self.identify(model, course);
        let attempted = attempted(&link, call(Arc::clone(&link)).await);
        if attempted.outcome.is_ok()
            && let Some(keep) = keep
        {
            self.send_keep_alive(model, keep);
        }
        Ok(attempted)
    }
}

/// The outcome at the link's worker. After a failure that another worker may not have, the link takes no further requests; the
/// running ones continue.
fn attempted<T>(link: &Link, outcome: Result<T>) -> Attempted<T> {
    if matches!(&outcome, Err(error) if error.disposition == Disposition::RetryElsewhere) {
        link.retire();
    }
    Attempted { server: link.incarnation(), outcome }
}

impl Backend for LocalBackend {
    fn capabilities(&self, _: &Course) -> Capabilities {
        Capabilities { resumable: true }
    }

    fn excuse(&self, model: &str, _: &Course, server: u64) {
        let (fleet, model) = (Arc::clone(&self.fleet), model.to_owned());
        let send = async move {
            if let Err(error) = fleet.excuse(model, server).await {
                tracing::debug!(%error, "the supervisor did not take the reason of a death");
            }
        };
        tokio::spawn(send.in_current_span());
    }

    fn check(&self, model: &str, generation: &Generation) -> Result<()> {
        let pool = self.pools().get(model).cloned();
        pool.map_or(Ok(()), |pool| pool.check(&generation.prompt))
    }

    fn generate(&self, attempt: GenerateAttempt) -> BoxFuture<'_, Attempt<Vec<EventStream>>> {
        self.submit(attempt).boxed()
    }

    fn probe<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Option<Result<Probe>>> {
        std::future::ready(None).boxed()
    }

    fn embed<'a>(&'a self, call: Call<'a, EmbedRequest>) -> BoxFuture<'a, Attempt<Embeddings>> {
        let Call { model, keep_alive, request, tried, course, .. } = call;
        // A request without a value resets the keep-alive of an earlier request.
        let keep = Some(keep_alive.unwrap_or_default());
        self.call((model, tried, course), keep, move |link| async move {
            answer(link.client().embed(deadline(ENCODER_DEADLINE), request.clone()).await)
        })
        .boxed()
    }

    fn rerank<'a>(&'a self, call: Call<'a, RerankRequest>) -> BoxFuture<'a, Attempt<Scores>> {
        let Call { model, keep_alive, request, tried, course, .. } = call;
        let keep = Some(keep_alive.unwrap_or_default());
        self.call((model, tried, course), keep, move |link| async move {
            answer(link.client().rerank(deadline(ENCODER_DEADLINE), request.clone()).await)
        })
        .boxed()
    }

    fn count_tokens<'a>(&'a self, call: Call<'a, [Prompt]>) -> BoxFuture<'a, Attempt<u32>> {
        let Call { model, sender, keep_alive, request, tried, course } = call;
        async move {
            let prompts = self.prepared((model, sender, course), request).await?;
            self.call((model, tried, course), keep_alive, move |link| async move {
                let mut count = 0;
                for prompt in prompts {
                    count += answer(link.client().count_tokens(deadline(CALL_DEADLINE), prompt).await)?;
                }
                Ok(count)
            })
            .await
        }
        .boxed()
    }

    fn render<'a>(&'a self, call: Call<'a, [Prompt]>) -> BoxFuture<'a, Attempt<Vec<RenderedPrompt>>> {
        let Call { model, sender, keep_alive, request, tried, course } = call;
        async move {
            let prompts = self.prepared((model, sender, course), request).await?;
            self.call((model, tried, course), keep_alive, move |link| async move {
                let mut rendered = Vec::with_capacity(prompts.len());
                for prompt in prompts {
                    rendered.push(answer(link.client().render(deadline(CALL_DEADLINE), prompt).await)?);
                }
                Ok(rendered)
            })
            .await
        }
        .boxed()
    }

    fn tokenize<'a>(&'a self, call: Call<'a, TokenizeRequest>) -> BoxFuture<'a, Attempt<Tokenized>> {
        let Call { model, sender, keep_alive, request, tried, course } = call;
        async move {
            let mut request = request.clone();
            if are_in(&request.prompt) {
                self.prepare_images((model, sender, course), &mut request.prompt).await?;
            }
            self.call((model, tried, course), keep_alive, move |link| async move {
                answer(link.client().tokenize(deadline(CALL_DEADLINE), request).await)
            })
            .await
        }
        .boxed()
    }

    fn detokenize<'a>(&'a self, call: Call<'a, [u32]>) -> BoxFuture<'a, Attempt<String>> {
        let Call { model, keep_alive, request, tried, course, .. } = call;
        self.call((model, tried, course), keep_alive, move |link| async move {
            answer(link.client().detokenize(deadline(CALL_DEADLINE), request.to_vec()).await)
        })
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request that waits for its first token keeps its future.
    #[test]
    fn waiting_requests_are_small() {
        let fleet = Arc::new(FleetClient::new("/nowhere".into()));
        let backend = LocalBackend::new(Arc::clone(&fleet), true);
        let attempt = GenerateAttempt {
            model: "m".into(),
            sender: Tenant::default(),
            request_id: String::new(),
            cache_scope: String::new(),
            generation: Generation::default(),
            choices: Vec::new(),
            drawn_seed: 0,
            keep_alive: None,
            affinity: None,
            original: None,
            assumes_no_thinking: false,
            tried: Tried::default(),
            course: Arc::default(),
        };
        let bytes = size_of_val(&backend.submit(attempt));
        assert!(bytes <= 6 << 10, "a submission: {bytes} bytes");
        let bytes = size_of_val(&fleet.ensure_ready(Want::model("m")));
        assert!(bytes <= 512, "a call to the supervisor: {bytes} bytes");
    }
}
