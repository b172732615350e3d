//! Chooses the backend of a request by its model's name: a model of this machine, of a program on it, or of a provider.
//!
//! A name that both have means the model of this machine. Only names in the settings go to a provider, so nothing leaves the
//! machine because a local model is missing. A route gives other models for a request: the first that can answer does.
//!
//! Here, and only here, the sender's key bounds the models: by the names that it may ask for, and to this machine if it is local
//! only. Every call of every protocol comes through here.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use ipc_proto::embed::{EmbedRequest, Embeddings, RerankRequest, Scores};
use ipc_proto::gateway::{ManagedBackend, ROLE_PREFIX};
use ipc_proto::generate::{Generation, Priority, Prompt};
use ipc_proto::prompt::{RenderedPrompt, TokenizeRequest, Tokenized};
use ipc_proto::{Error, ErrorKind, Resource, Result};

use super::judging::{Judges, Subject};
use super::local::LocalBackend;
use super::providers::ProviderBackend;
use super::{Attempt, Backend, Call, Capabilities, EventStream, GenerateAttempt, Probe};
use crate::access::Tenant;
use crate::fleet::{FleetClient, facts as fleet_facts};
use crate::inference::course::{BackendName, Course};
use crate::inference::directory::Directory;
use crate::inference::names::Names;
use crate::inference::routing::Decision;

mod chain;
mod costs;
pub(super) mod facts;
mod pool;

pub use pool::ProviderPool;
use pool::Slots;

/// The models of this machine, those of providers, and routes to them. Only generations go on along a route.
pub struct ByName {
    local: Arc<LocalBackend>,
    fleet: Arc<FleetClient>,
    pool: Arc<ProviderPool>,
    managed: Managed,
    judges: Arc<Judges>,
}

/// The backends by their names.
type Managed = HashMap<String, ProviderBackend>;

/// All models and routes as they are for one request.
struct View<'a> {
    local: &'a LocalBackend,
    fleet: &'a FleetClient,
    judges: &'a Judges,
    providers: Arc<Slots>,
    managed: &'a Managed,
    names: Arc<Names>,
}

/// A name to find the backend of.
#[derive(Clone, Copy)]
struct Asked<'a> {
    /// The name.
    name: &'a str,
    /// Whether a route gives it.
    along_route: bool,
    /// Whether only a model of this machine may answer.
    local_only: bool,
}

impl ByName {
    /// Models of `local`, and of the providers and backends in `pool`.
    pub fn new(local: Arc<LocalBackend>, fleet: Arc<FleetClient>, pool: Arc<ProviderPool>) -> Self {
        let managed = |(name, backend): (&str, &ManagedBackend)| {
            (name.to_owned(), ProviderBackend::managed(name, backend, Arc::clone(&fleet)))
        };
        let managed = pool.managed().iter().map(managed).collect();
        let judges = Arc::new(Judges::new(Arc::clone(&local)));
        Self { local, fleet, pool, managed, judges }
    }

    /// The names of the providers' models, and the routes.
    pub fn directory(&self) -> &Arc<Directory> {
        self.pool.directory()
    }

    /// Decides on routes, and asks the models of this machine that judge.
    pub fn judges(&self) -> &Arc<Judges> {
        &self.judges
    }

    /// The view that all attempts of a request have. Its first attempt decides on the names.
    fn view(&self, course: &Course) -> View<'_> {
        let providers = self.pool.slots();
        let names = Arc::clone(course.names(self.pool.directory()));
        let (local, fleet, judges) = (&*self.local, &*self.fleet, &*self.judges);
        View { local, fleet, judges, providers, managed: &self.managed, names }
    }
}

impl View<'_> {
    /// The route of a generation, and the order of its models. Says how long the decision took if it was made now.
    async fn decide(&self, attempt: &GenerateAttempt) -> (Arc<Decision>, Duration) {
        if let Some(decided) = attempt.course.decision() {
            return (Arc::clone(decided), Duration::ZERO);
        }
        let began = Instant::now();
        let facts = facts::of_generation(&self.names, self.fleet, attempt).await;
        let subject = Subject {
            request_id: &attempt.request_id,
            cache_scope: &attempt.cache_scope,
            priority: attempt.generation.priority,
            time_left_ms: attempt.generation.time_limit_ms,
        };
        let decision = self.judges.decide(&self.names, facts, subject).await;
        (Arc::clone(attempt.course.decide(decision)), began.elapsed())
    }

    /// Asks the models of the request's route, if one applies, until one answers.
    async fn generate_routed(&self, mut attempt: GenerateAttempt) -> Attempt<Vec<EventStream>> {
        attempt.sender.check_model(&attempt.model)?;
        if self.names.routes_of(&attempt.model).next().is_some() {
            let (decision, spent) = self.decide(&attempt).await;
            // Judging may have taken a part of the request's time.
            let spent_ms = u32::try_from(spent.as_millis()).unwrap_or(u32::MAX);
            let limit = &mut attempt.generation.time_limit_ms;
            *limit = limit.map(|limit| limit.saturating_sub(spent_ms).max(1));
            if decision.route.is_some() {
                return self.generate_along(&decision, attempt).await;
            }
        }
        let name = attempt.model.clone();
        let asked = Asked { name: &name, along_route: false, local_only: false };
        let (backend, model) = self.ask(asked, &attempt.sender, &attempt.course).await?;
        backend.generate(GenerateAttempt { model: model.to_owned(), ..attempt }).await
    }

    /// Chooses the backend of a name, and notes the choice. The one place that keeps requests on this machine.
    async fn ask<'a>(
        &'a self,
        asked: Asked<'a>,
        sender: &Tenant,
        course: &Course,
    ) -> Result<(&'a dyn Backend, &'a str)> {
        let Asked { name, along_route, local_only } = asked;
        let (backend, server, model) = self.choose(name, sender).await?;
        if local_only && !server.is_here() {
            let text =
                format!("the model \"{name}\" is not on this machine, which the request must not leave");
            return Err(Error::not_found(Resource::Model, text));
        }
        let own_id = (model != name || along_route).then(|| model.into());
        course.ask(server, own_id, along_route.then(|| name.into()));
        Ok((backend, model))
    }

    /// The backend of a call, and the call with the model's name there.
    async fn redirect<'a, R: ?Sized>(&'a self, call: Call<'a, R>) -> Result<(&'a dyn Backend, Call<'a, R>)> {
        call.sender.check_model(call.model)?;
        if self.names.routes_of(call.model).next().is_some() {
            let facts = fleet_facts::of_call(&self.names, self.fleet, call.model, call.course).await;
            // A call has no text of a user, so nothing is asked.
            let subject = Subject {
                request_id: "",
                cache_scope: "",
                priority: Priority::default(),
                time_left_ms: None,
            };
            let decision = call.course.decide(self.judges.decide(&self.names, facts, subject).await);
            if let Some(title) = &decision.route {
                call.course.enter_route(&title.as_str().into());
                let (backend, model) = self.first_of(decision, call.sender, call.course).await?;
                return Ok((backend, Call { model, ..call }));
            }
        }
        let asked = Asked { name: call.model, along_route: false, local_only: false };
        let (backend, model) = self.ask(asked, call.sender, call.course).await?;
        Ok((backend, Call { model, ..call }))
    }

    /// The backend of a route's first model: the first on this machine, if the sender is local only.
    async fn first_of<'a>(
        &'a self,
        decision: &'a Decision,
        sender: &Tenant,
        course: &Course,
    ) -> Result<(&'a dyn Backend, &'a str)> {
        let local_only = decision.bounds.local_only;
        let mut problem = Error::not_found(Resource::Model, "the route names no model");
        for target in &decision.targets {
            let asked = Asked { name: target, along_route: true, local_only };
            match self.ask(asked, sender, course).await {
                Err(error) if is_beyond(&error, sender) => problem = error,
                outcome => return outcome,
            }
        }
        Err(problem)
    }

    /// The backend of `model`, its name, and the model's name there. A provider is none for a sender that is local only.
    async fn choose<'a>(
        &'a self,
        model: &'a str,
        sender: &Tenant,
    ) -> Result<(&'a dyn Backend, BackendName, &'a str)> {
        let listed = self.names.find(model);
        if let Some(listed) = listed.filter(|listed| listed.is_managed) {
            let backend =
                self.managed.get(&listed.provider).ok_or_else(|| unlisted(&listed.provider, model))?;
            return Ok((backend, BackendName::Managed(Arc::clone(backend.name())), &listed.model.id));
        }
        let provider = listed.map(|listed| &*listed.provider).or_else(|| self.names.provider_of(model));
        let Some(provider) = provider else {
            return if model.starts_with(ROLE_PREFIX) {
                Err(self.unknown_role(model))
            } else {
                Ok((self.local, BackendName::Local, model))
            };
        };
        if !self.is_missing_here(model).await? {
            return Ok((self.local, BackendName::Local, model));
        }
        if sender.is_local_only() {
            return Err(Tenant::refuse_provider(model, provider));
        }
        match (listed, self.providers.get(provider)) {
            (Some(listed), Some(slot)) => {
                let backend = slot.backend(provider)?;
                // The provider may have changed since the request began.
                if !backend.offers(&listed.model.id) {
                    return Err(unlisted(provider, model));
                }
                Ok((&**backend, BackendName::Provider(Arc::clone(backend.name())), &listed.model.id))
            }
            _ => Err(unlisted(provider, model)),
        }
    }

    fn unknown_role(&self, name: &str) -> Error {
        let known: Vec<&str> = self.names.roles().collect();
        let text = match known.is_empty() {
            true => format!("there is no role \"{name}\"; [roles] in config.toml makes roles"),
            false => format!("there is no role \"{name}\"; the roles are {}", known.join(", ")),
        };
        Error::not_found(Resource::Model, text).with_field("model")
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
    let text =
        format!("the model \"{model}\" is not among the models that the provider {provider} is to offer");
    Error::not_found(Resource::Model, text)
}

/// Whether a target is none for the sender only because it is a provider's.
fn is_beyond(error: &Error, sender: &Tenant) -> bool {
    sender.is_local_only() && error.kind == ErrorKind::PermissionDenied
}

impl Backend for ByName {
    fn capabilities(&self, course: &Course) -> Capabilities {
        match course.answerer().backend {
            Some(BackendName::Provider(_) | BackendName::Managed(_)) => Capabilities { resumable: false },
            Some(BackendName::Local) | None => self.local.capabilities(course),
        }
    }

    fn excuse(&self, model: &str, course: &Course, server: u64) {
        let answerer = course.answerer();
        if matches!(answerer.backend, None | Some(BackendName::Local)) {
            self.local.excuse(answerer.target.as_deref().unwrap_or(model), course, server);
        }
    }

    fn check(&self, model: &str, generation: &Generation) -> Result<()> {
        // A model of a route may have a longer context, and so may one of a provider.
        if self.pool.directory().now().is_plain(model) { self.local.check(model, generation) } else { Ok(()) }
    }

    fn generate(&self, attempt: GenerateAttempt) -> BoxFuture<'_, Attempt<Vec<EventStream>>> {
        // A future that could also go elsewhere is larger, and a request that waits keeps its future.
        if attempt.course.names(self.pool.directory()).is_plain(&attempt.model) {
            match attempt.sender.check_model(&attempt.model) {
                Ok(()) => {
                    attempt.course.ask(BackendName::Local, None, None);
                    self.local.generate(attempt)
                }
                Err(refused) => std::future::ready(Err(refused)).boxed(),
            }
        } else {
            let view = self.view(&attempt.course);
            async move { view.generate_routed(attempt).await }.boxed()
        }
    }

    fn probe<'a>(&'a self, provider: &'a str) -> BoxFuture<'a, Option<Result<Probe>>> {
        async move {
            let slots = self.pool.slots();
            match slots.get(provider)?.backend(provider) {
                Ok(backend) => Some(backend.probe().await),
                Err(problem) => Some(Err(problem)),
            }
        }
        .boxed()
    }

    fn embed<'a>(&'a self, call: Call<'a, EmbedRequest>) -> BoxFuture<'a, Attempt<Embeddings>> {
        async move {
            let view = self.view(call.course);
            let (backend, call) = view.redirect(call).await?;
            backend.embed(call).await
        }
        .boxed()
    }

    fn rerank<'a>(&'a self, call: Call<'a, RerankRequest>) -> BoxFuture<'a, Attempt<Scores>> {
        async move {
            let view = self.view(call.course);
            let (backend, call) = view.redirect(call).await?;
            backend.rerank(call).await
        }
        .boxed()
    }

    fn count_tokens<'a>(&'a self, call: Call<'a, [Prompt]>) -> BoxFuture<'a, Attempt<u32>> {
        async move {
            let view = self.view(call.course);
            let (backend, call) = view.redirect(call).await?;
            backend.count_tokens(call).await
        }
        .boxed()
    }

    fn render<'a>(&'a self, call: Call<'a, [Prompt]>) -> BoxFuture<'a, Attempt<Vec<RenderedPrompt>>> {
        async move {
            let view = self.view(call.course);
            let (backend, call) = view.redirect(call).await?;
            backend.render(call).await
        }
        .boxed()
    }

    fn tokenize<'a>(&'a self, call: Call<'a, TokenizeRequest>) -> BoxFuture<'a, Attempt<Tokenized>> {
        async move {
            let view = self.view(call.course);
            let (backend, call) = view.redirect(call).await?;
            backend.tokenize(call).await
        }
        .boxed()
    }

    fn detokenize<'a>(&'a self, call: Call<'a, [u32]>) -> BoxFuture<'a, Attempt<String>> {
        async move {
            let view = self.view(call.course);
            let (backend, call) = view.redirect(call).await?;
            backend.detokenize(call).await
        }
        .boxed()
    }
}
