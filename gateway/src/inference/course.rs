//! The course of one request: where it went, and which model answers. Its recorder, its attempts and its writer share it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use hyper::HeaderMap;
use ipc_proto::gateway::PricedTokens;
use ipc_proto::generate::Usage;
use ipc_proto::{Error, ErrorKind, Origin};

use super::content::Content;
use super::directory::Directory;
use super::image_files::ImageFiles;
use super::names::Names;
use super::record::Cost;
use super::routing::Decision;
use super::sender::KeyIdentity;

/// The name of this machine among the backends.
pub const LOCAL: &str = "local";

/// The course of a request so far.
#[derive(Debug, Default)]
pub struct Course {
    /// The headers of the request that conditions of routes name, if there are such conditions.
    headers: Option<Arc<HeaderMap>>,
    /// The client's metadata, as a JSON object.
    notes: Option<String>,
    /// The sender's API key, if it is one of the database.
    key: OnceLock<KeyIdentity>,
    /// Collects the content of the request, if its key says so.
    content: OnceLock<Arc<Content>>,
    /// The names that all attempts use.
    names: OnceLock<Arc<Names>>,
    /// The images that were written for a worker.
    image_files: ImageFiles,
    decision: OnceLock<Arc<Decision>>,
    attempts: AtomicU32,
    recoveries: AtomicU32,
    answerer: Mutex<Answerer>,
}

/// The model that was asked last, and the way to it. After a success it is the one that answers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answerer {
    /// The backend; `None` before any was asked.
    pub backend: Option<BackendName>,
    /// The model's id at the backend, where it differs from the name that the client gave.
    pub model: Option<Arc<str>>,
    /// The name under which the route asked for it; `None` without a route.
    pub target: Option<Arc<str>>,
    /// The name of the route, if one applies.
    pub route: Option<Arc<str>>,
    /// Why the route's earlier models did not answer, in order.
    pub reasons: Vec<&'static str>,
}

/// The name of a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackendName {
    /// This machine.
    Local,
    /// The provider of this name.
    Provider(Arc<str>),
    /// The program of the backend of this name, on this machine.
    Managed(Arc<str>),
}

impl BackendName {
    /// The name in headers and records.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Local => LOCAL,
            Self::Provider(name) | Self::Managed(name) => name,
        }
    }

    /// Whether requests to it stay on this machine.
    pub fn is_here(&self) -> bool {
        !matches!(self, Self::Provider(_))
    }
}

impl Answerer {
    /// Why the earlier models of the route did not answer, as one text; `None` if the first one was asked last.
    pub fn fallback_reason(&self) -> Option<String> {
        (!self.reasons.is_empty()).then(|| self.reasons.join(", "))
    }
}

impl Course {
    /// The course of a request that begins.
    pub fn new(headers: Option<Arc<HeaderMap>>, notes: Option<String>) -> Self {
        Self { headers, notes, ..Self::default() }
    }

    /// The headers of the request that conditions of routes name.
    pub fn headers(&self) -> Option<&Arc<HeaderMap>> {
        self.headers.as_ref()
    }

    /// The client's metadata, as a JSON object.
    pub fn notes(&self) -> Option<&str> {
        self.notes.as_deref()
    }

    /// The sender's API key, if it is one of the database.
    pub fn key(&self) -> Option<&KeyIdentity> {
        self.key.get()
    }

    /// Notes the sender's API key, before the first attempt.
    pub fn set_key(&self, key: Option<KeyIdentity>) {
        if let Some(key) = key {
            self.key.get_or_init(|| key);
        }
    }

    /// Collects the content of the request, if its key says so.
    pub fn content(&self) -> Option<&Content> {
        self.content.get().map(|content| &**content)
    }

    /// Has the content of the request collected, before the first attempt.
    pub fn set_content(&self, content: Option<Arc<Content>>) {
        if let Some(content) = content {
            self.content.get_or_init(|| content);
        }
    }

    /// The files of the request's images, for workers. They live as long as the course.
    pub fn image_files(&self) -> &ImageFiles {
        &self.image_files
    }

    /// The names that all attempts use: those at the time of the first one.
    pub fn names(&self, directory: &Directory) -> &Arc<Names> {
        self.names.get_or_init(|| directory.now())
    }

    /// The cost of these tokens at the provider that was asked last, by its price on this day.
    pub fn cost(&self, usage: &Usage, day: &str) -> Option<Cost> {
        let answerer = self.answerer();
        let Some(BackendName::Provider(provider)) = &answerer.backend else { return None };
        let listed = self.names.get()?.find(&format!("{provider}/{}", answerer.model?))?;
        let price = listed.model.price.on(day)?;
        let tokens = PricedTokens {
            prompt: usage.prompt_tokens,
            cached: usage.cached_tokens,
            output: usage.completion_tokens,
        };
        Some(Cost { nano_usd: price.cost(tokens), price_since: price.since.clone() })
    }

    /// The route that was chosen for the request, once it was.
    pub fn decision(&self) -> Option<&Arc<Decision>> {
        self.decision.get()
    }

    /// Keeps the first decision. Returns it.
    pub fn decide(&self, decision: Decision) -> &Arc<Decision> {
        self.decision.get_or_init(|| Arc::new(decision))
    }

    /// Begins a way along a route. Forgets an earlier one.
    pub fn enter_route(&self, route: &Arc<str>) {
        *self.answerer_mut() = Answerer { route: Some(Arc::clone(route)), ..Answerer::default() };
    }

    /// Notes an attempt at a model of a backend, which a route calls `target`. `model` is its id there, if it differs from the
    /// client's name of it.
    pub fn ask(&self, backend: BackendName, model: Option<Arc<str>>, target: Option<Arc<str>>) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        if let Some(content) = self.content() {
            content.forget_sent();
        }
        let mut answerer = self.answerer_mut();
        answerer.backend = Some(backend);
        answerer.model = model;
        answerer.target = target;
    }

    /// Notes the id of the model that is asked, once it is known.
    pub fn identify(&self, model: Arc<str>) {
        self.answerer_mut().model = Some(model);
    }

    /// Notes that the model asked last does not answer, and the next one of the route is asked.
    pub fn pass_over(&self, reason: &'static str) {
        self.answerer_mut().reasons.push(reason);
    }

    /// Notes one more attempt at the same model.
    pub fn ask_again(&self) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes a retry at another server, after the first one was lost or refused.
    pub fn recover(&self) {
        self.recoveries.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests to servers so far.
    pub fn attempts(&self) -> u32 {
        self.attempts.load(Ordering::Relaxed)
    }

    /// Retries at other servers so far.
    pub fn recoveries(&self) -> u32 {
        self.recoveries.load(Ordering::Relaxed)
    }

    /// The model that was asked last.
    pub fn answerer(&self) -> Answerer {
        self.answerer_mut().clone()
    }

    /// The name under which a route asked for the model, if one did.
    pub fn target(&self) -> Option<Arc<str>> {
        self.answerer_mut().target.clone()
    }

    fn answerer_mut(&self) -> MutexGuard<'_, Answerer> {
        self.answerer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The word for a failure in headers, records and traces.
pub fn reason(error: &Error) -> &'static str {
    match (error.kind, error.origin) {
        // Not the provider's own.
        (ErrorKind::RateLimited, Origin::Gateway) => "provider_limit",
        (kind, _) => word(kind),
    }
}

fn word(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidRequest => "invalid_request",
        ErrorKind::ContextLength => "context_length",
        ErrorKind::TooLarge => "too_large",
        ErrorKind::Unauthorized => "unauthorized",
        ErrorKind::PermissionDenied => "permission_denied",
        ErrorKind::NotFound(_) => "not_found",
        ErrorKind::ModelBroken => "model_broken",
        ErrorKind::Overloaded => "overloaded",
        ErrorKind::RateLimited => "rate_limited",
        ErrorKind::Unavailable => "unavailable",
        ErrorKind::Upstream => "upstream",
        ErrorKind::Timeout => "timeout",
        ErrorKind::Cancelled => "cancelled",
        ErrorKind::Internal => "internal",
    }
}

#[cfg(test)]
mod tests {
    use super::super::directory::RoutingTable;
    use super::*;

    #[test]
    fn answerer_is_the_model_asked_last() {
        let course = Course::default();
        assert_eq!(course.answerer(), Answerer::default());
        course.enter_route(&"claude-*".into());
        course.ask(BackendName::Local, None, Some("m".into()));
        course.pass_over(reason(&Error::new(ErrorKind::Overloaded, Origin::Worker, "full")));
        course.ask(BackendName::Provider("far".into()), Some("big".into()), Some("far/big".into()));
        let answerer = course.answerer();
        assert_eq!(answerer.backend.as_ref().map(BackendName::as_str), Some("far"));
        assert_eq!((answerer.route.as_deref(), answerer.model.as_deref()), (Some("claude-*"), Some("big")));
        assert_eq!(answerer.fallback_reason().as_deref(), Some("overloaded"));
        assert_eq!((course.attempts(), course.recoveries()), (2, 0));
    }

    #[test]
    fn cost_is_that_of_the_provider_asked_last() {
        let config = serde_json::json!({"providers": {"far": {"kind": "openai", "url": "http://far.example", "models": [
            {"id": "m", "price": {"input": 1, "output": 2, "since": "2026-01-01"}}, "free"]}}});
        let table = RoutingTable::of_settings(&serde_json::from_value(config).unwrap());
        let directory = Directory::new(Names::new(&table));
        let usage = Usage { prompt_tokens: 10, completion_tokens: 5, ..Usage::default() };
        let cost = |backend: BackendName, model: &str, day: &str| {
            let course = Course::default();
            course.names(&directory);
            course.ask(backend, Some(model.into()), None);
            course.cost(&usage, day)
        };
        let far = || BackendName::Provider("far".into());
        let expected = Cost { nano_usd: 20_000, price_since: Some("2026-01-01".into()) };
        assert_eq!(cost(far(), "m", "2026-11-29"), Some(expected));
        for (backend, model, day) in [
            (far(), "free", "2026-11-29"),
            (BackendName::Local, "m", "2026-11-29"),
            (far(), "m", "2025-12-31"),
        ] {
            assert_eq!(cost(backend, model, day), None);
        }
    }

    #[test]
    fn new_way_along_a_route_forgets_the_reasons_of_the_last() {
        let course = Course::default();
        let route = "a".into();
        course.enter_route(&route);
        course.pass_over("not_found");
        course.enter_route(&route);
        assert_eq!(course.answerer().fallback_reason(), None);
    }
}
