//! Chooses the backend of a request by its model's name: a model of this machine, or one of a provider.
//!
//! A name that both have means the model of this machine. Only names in the settings go to a provider, so nothing leaves the
//! machine because a local model is missing. A route gives other models for a name: the first that can answer does.

use std::collections::HashMap;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use ipc_proto::embed::{EmbedRequest, Embeddings, RerankRequest, Scores};
use ipc_proto::gateway::GatewayConfig;
use ipc_proto::generate::Prompt;
use ipc_proto::prompt::{RenderedPrompt, TokenizeRequest, Tokenized};
use ipc_proto::{Disposition, Error, ErrorKind, Resource, Result};

use super::local::LocalBackend;
use super::providers::ProviderBackend;
use super::{Attempt, Backend, Call, Capabilities, EventStream, GenerateAttempt};
use crate::fleet::FleetClient;
use crate::inference::names::Names;

/// The models of this machine, those of providers, and routes to them. Only generations go on along a route.
pub struct ByName {
    local: Arc<LocalBackend>,
    fleet: Arc<FleetClient>,
    providers: HashMap<String, ProviderBackend>,
    names: Arc<Names>,
}

impl ByName {
    /// Models of `local`, and of the configured providers.
    ///
    /// # Errors
    /// The HTTP client cannot be set up.
    pub fn new(
        local: Arc<LocalBackend>,
        fleet: Arc<FleetClient>,
        config: &GatewayConfig,
        names: Arc<Names>,
    ) -> anyhow::Result<Self> {
        let mut providers = HashMap::new();
        for (name, provider) in config.providers.iter() {
            providers.insert(name.to_owned(), ProviderBackend::new(name, provider)?);
        }
        Ok(Self { local, fleet, providers, names })
    }

    /// Asks the models of a route, if one has the name, until one answers.
    async fn generate_along(&self, attempt: GenerateAttempt) -> Attempt<Vec<EventStream>> {
        let name = attempt.model.clone();
        let targets = self.names.route(&name).map_or(&[][..], |route| &route.targets);
        let Some((last, others)) = targets.split_last() else {
            return self.generate_at(&name, attempt).await;
        };
        for target in others {
            let outcome = self.generate_at(target, attempt.clone()).await;
            let Some(cause) = reason_to_go_on(&outcome, &attempt) else { return outcome };
            tracing::warn!(route = name, target, %cause, "a request goes to the next model of its route");
        }
        self.generate_at(last, attempt).await
    }

    async fn generate_at(&self, target: &str, attempt: GenerateAttempt) -> Attempt<Vec<EventStream>> {
        let (backend, model) = self.choose(target).await?;
        backend.generate(GenerateAttempt { model: model.to_owned(), ..attempt }).await
    }

    /// The backend of a call, and the call with the model's name there.
    async fn redirect<'a, R: ?Sized>(&'a self, call: Call<'a, R>) -> Result<(&'a dyn Backend, Call<'a, R>)> {
        let (backend, model) = self.choose(self.names.first_target(call.model)).await?;
        Ok((backend, Call { model, ..call }))
    }

    /// The backend of `model`, and the model's name there.
    async fn choose<'a>(&'a self, model: &'a str) -> Result<(&'a dyn Backend, &'a str)> {
        let listed = self.names.find(model);
        let provider = listed.map(|listed| &*listed.provider).or_else(|| self.names.provider_of(model));
        let Some(provider) = provider else { return Ok((&*self.local, model)) };
        if !self.is_missing_here(model).await? {
            return Ok((&*self.local, model));
        }
        match (listed, self.providers.get(provider)) {
            (Some(listed), Some(backend)) => Ok((backend, &listed.model.id)),
            _ => Err(unlisted(provider, model)),
        }
    }

    async fn is_missing_here(&self, model: &str) -> Result<bool> {
        match self.fleet.model(model).await {
            Ok(_) => Ok(false),
            Err(error) if error.kind == ErrorKind::NotFound(Resource::Model) => Ok(true),
            Err(error) => Err(error),
        }
    }
}

fn unlisted(provider: &str, model: &str) -> Error {
    let text = format!("the model \"{model}\" is not among providers.{provider}.models in the settings");
    Error::not_found(Resource::Model, text)
}

/// The error after which the next model of a route takes a request. `None` if no model could take it, or its output has begun:
/// another model would not continue it.
fn reason_to_go_on<'a, T>(outcome: &'a Attempt<T>, attempt: &GenerateAttempt) -> Option<&'a Error> {
    let (error, is_final) = match outcome {
        Ok(attempted) => (attempted.outcome.as_ref().err()?, false),
        Err(error) => (error, true),
    };
    // The dispatcher asks the same model once more first.
    let is_retried =
        !is_final && error.disposition == Disposition::RetryElsewhere && attempt.tried.excluded.is_empty();
    let has_begun = attempt.choices.iter().any(|choice| !choice.generated.is_empty());
    let concerns_the_model = matches!(
        error.kind,
        ErrorKind::NotFound(Resource::Model)
            | ErrorKind::ModelBroken
            | ErrorKind::Unavailable
            | ErrorKind::Overloaded
            | ErrorKind::RateLimited
            | ErrorKind::Upstream
            | ErrorKind::Timeout
            | ErrorKind::ContextLength
    );
    (concerns_the_model && !has_begun && !is_retried).then_some(error)
}

impl Backend for ByName {
    fn capabilities(&self, model: &str) -> Capabilities {
        let target = self.names.first_target(model);
        match self.names.find(target) {
            // The name may also be that of a local model. Then less than possible is used of it.
            Some(_) => Capabilities { resumable: false },
            None => self.local.capabilities(target),
        }
    }

    fn excuse(&self, model: &str, server: u64) {
        let target = self.names.first_target(model);
        if self.names.find(target).is_none() {
            self.local.excuse(target, server);
        }
    }

    fn generate(&self, attempt: GenerateAttempt) -> BoxFuture<'_, Attempt<Vec<EventStream>>> {
        // A future that could also go elsewhere is larger, and a request that waits keeps its future.
        if self.names.is_plain(&attempt.model) {
            self.local.generate(attempt)
        } else {
            self.generate_along(attempt).boxed()
        }
    }

    fn embed<'a>(&'a self, call: Call<'a, EmbedRequest>) -> BoxFuture<'a, Attempt<Embeddings>> {
        async move {
            let (backend, call) = self.redirect(call).await?;
            backend.embed(call).await
        }
        .boxed()
    }

    fn rerank<'a>(&'a self, call: Call<'a, RerankRequest>) -> BoxFuture<'a, Attempt<Scores>> {
        async move {
            let (backend, call) = self.redirect(call).await?;
            backend.rerank(call).await
        }
        .boxed()
    }

    fn count_tokens<'a>(&'a self, call: Call<'a, [Prompt]>) -> BoxFuture<'a, Attempt<u32>> {
        async move {
            let (backend, call) = self.redirect(call).await?;
            backend.count_tokens(call).await
        }
        .boxed()
    }

    fn render<'a>(&'a self, call: Call<'a, [Prompt]>) -> BoxFuture<'a, Attempt<Vec<RenderedPrompt>>> {
        async move {
            let (backend, call) = self.redirect(call).await?;
            backend.render(call).await
        }
        .boxed()
    }

    fn tokenize<'a>(&'a self, call: Call<'a, TokenizeRequest>) -> BoxFuture<'a, Attempt<Tokenized>> {
        async move {
            let (backend, call) = self.redirect(call).await?;
            backend.tokenize(call).await
        }
        .boxed()
    }

    fn detokenize<'a>(&'a self, call: Call<'a, [u32]>) -> BoxFuture<'a, Attempt<String>> {
        async move {
            let (backend, call) = self.redirect(call).await?;
            backend.detokenize(call).await
        }
        .boxed()
    }
}
