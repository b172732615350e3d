//! Chooses the backend of a request by its model's name: a model of this machine, or one of a provider.
//!
//! A name that both have means the model of this machine. Only names in the settings go to a provider, so nothing leaves the
//! machine because a local model is missing.

use std::collections::HashMap;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use ipc_proto::embed::{EmbedRequest, Embeddings, RerankRequest, Scores};
use ipc_proto::gateway::Providers;
use ipc_proto::generate::Prompt;
use ipc_proto::prompt::{RenderedPrompt, TokenizeRequest, Tokenized};
use ipc_proto::{Error, ErrorKind, Resource, Result};

use super::local::LocalBackend;
use super::providers::ProviderBackend;
use super::{Attempt, Backend, Call, Capabilities, EventStream, GenerateAttempt};
use crate::fleet::FleetClient;
use crate::inference::provider_models::ProviderModels;

/// The models of this machine, and those of providers.
pub struct ByName {
    local: Arc<LocalBackend>,
    fleet: Arc<FleetClient>,
    providers: HashMap<String, ProviderBackend>,
    models: Arc<ProviderModels>,
}

impl ByName {
    /// Models of `local`, and of the configured providers.
    ///
    /// # Errors
    /// The HTTP client cannot be set up.
    pub fn new(
        local: Arc<LocalBackend>,
        fleet: Arc<FleetClient>,
        providers: &Providers,
        models: Arc<ProviderModels>,
    ) -> anyhow::Result<Self> {
        let mut backends = HashMap::new();
        for (name, provider) in providers.iter() {
            backends.insert(name.to_owned(), ProviderBackend::new(name, provider)?);
        }
        Ok(Self { local, fleet, providers: backends, models })
    }

    /// The backend of `model`, and the model's name there.
    async fn choose(&self, model: &str) -> Result<(&dyn Backend, String)> {
        let Some(listed) = self.models.find(model) else {
            return match self.models.provider_of(model) {
                Some(provider) if self.is_missing_here(model).await? => Err(unlisted(provider, model)),
                _ => Ok((&*self.local, model.to_owned())),
            };
        };
        match self.providers.get(&listed.provider) {
            Some(provider) if self.is_missing_here(model).await? => Ok((provider, listed.model.id.clone())),
            _ => Ok((&*self.local, model.to_owned())),
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

/// The same call for the backend's own name of the model.
fn renamed<'a, R: ?Sized>(call: &'a Call<'_, R>, model: &'a str) -> Call<'a, R> {
    Call { model, keep_alive: call.keep_alive, request: call.request, tried: call.tried.clone() }
}

impl Backend for ByName {
    fn capabilities(&self, model: &str) -> Capabilities {
        match self.models.find(model) {
            // The name may also be that of a local model. Then less than possible is used of it.
            Some(_) => Capabilities { resumable: false },
            None => self.local.capabilities(model),
        }
    }

    fn generate(&self, attempt: GenerateAttempt) -> BoxFuture<'_, Attempt<Vec<EventStream>>> {
        async move {
            let (backend, model) = self.choose(&attempt.model).await?;
            backend.generate(GenerateAttempt { model, ..attempt }).await
        }
        .boxed()
    }

    fn embed<'a>(&'a self, call: Call<'a, EmbedRequest>) -> BoxFuture<'a, Attempt<Embeddings>> {
        async move {
            let (backend, model) = self.choose(call.model).await?;
            backend.embed(renamed(&call, &model)).await
        }
        .boxed()
    }

    fn rerank<'a>(&'a self, call: Call<'a, RerankRequest>) -> BoxFuture<'a, Attempt<Scores>> {
        async move {
            let (backend, model) = self.choose(call.model).await?;
            backend.rerank(renamed(&call, &model)).await
        }
        .boxed()
    }

    fn count_tokens<'a>(&'a self, call: Call<'a, [Prompt]>) -> BoxFuture<'a, Attempt<u32>> {
        async move {
            let (backend, model) = self.choose(call.model).await?;
            backend.count_tokens(renamed(&call, &model)).await
        }
        .boxed()
    }

    fn render<'a>(&'a self, call: Call<'a, [Prompt]>) -> BoxFuture<'a, Attempt<Vec<RenderedPrompt>>> {
        async move {
            let (backend, model) = self.choose(call.model).await?;
            backend.render(renamed(&call, &model)).await
        }
        .boxed()
    }

    fn tokenize<'a>(&'a self, call: Call<'a, TokenizeRequest>) -> BoxFuture<'a, Attempt<Tokenized>> {
        async move {
            let (backend, model) = self.choose(call.model).await?;
            backend.tokenize(renamed(&call, &model)).await
        }
        .boxed()
    }

    fn detokenize<'a>(&'a self, call: Call<'a, [u32]>) -> BoxFuture<'a, Attempt<String>> {
        async move {
            let (backend, model) = self.choose(call.model).await?;
            backend.detokenize(renamed(&call, &model)).await
        }
        .boxed()
    }
}
