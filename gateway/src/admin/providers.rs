//! Providers in the admin API. An API key goes in, and never comes out.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ipc_proto::gateway::Provider;
use ipc_proto::{Error, Result};
use secrecy::{ExposeSecret, SecretString};

use super::provider_wire::{ProviderInput, ProviderView, ProviderViews};
use super::refusal::Refusal;
use super::wire::{DiscoveredModel, ProviderTest};
use crate::dispatch::{Services, providers};
use crate::protocols::common::body;
use crate::protocols::error::ApiError;
use crate::store::routing_store::{KeyChange, ProviderRecord, RoutingStore};

type Store = State<Arc<RoutingStore>>;

const DEFAULT_TIMEOUT_SECONDS: u32 = 600;
const MAX_MODELS: usize = 1000;

/// `GET /admin/v1/providers`.
///
/// # Errors
/// The database refuses.
pub async fn list(State(store): Store) -> Result<Json<ProviderViews>, Refusal> {
    Ok(Json(all(&store).await?))
}

/// `POST /admin/v1/providers`: makes a provider. It answers from now on.
///
/// # Errors
/// A wrong field, a name or an alias that is taken, or the database refuses.
pub async fn create(State(store): Store, request: Request) -> Result<Response, Refusal> {
    let input = body::json(request).await?;
    Ok((StatusCode::CREATED, Json(make(&store, input).await?)).into_response())
}

/// `GET /admin/v1/providers/{id}`.
///
/// # Errors
/// There is no such provider, or the database refuses.
pub async fn get(State(store): Store, Path(name): Path<String>) -> Result<Json<ProviderView>, Refusal> {
    Ok(Json(view(store.get(&name).await?)))
}

/// `PUT /admin/v1/providers/{id}`: replaces a provider's settings. Without `api_key` its key stays, without `limits` its limits.
///
/// # Errors
/// As [`create`]; there is no such provider, or it stands in `config.toml`.
pub async fn replace(
    State(store): Store,
    Path(name): Path<String>,
    request: Request,
) -> Result<Json<ProviderView>, Refusal> {
    let mut input: ProviderInput = body::json(request).await?;
    if input.name.as_ref().is_some_and(|other| *other != name) {
        let text = format!("name: the provider is {name}, and a name cannot be changed");
        return Err(Error::invalid("name", text).into());
    }
    if input.limits.is_none() {
        input.limits = Some(store.get(&name).await?.provider.limits);
    }
    let key = input.api_key.clone().map_or(KeyChange::Keep, KeyChange::Set);
    let (provider, enabled) = checked(&name, input)?;
    let record = store.replace(&name, &provider, (key, enabled)).await?;
    tracing::info!(provider = name, "a provider was changed");
    Ok(Json(view(record)))
}

/// `DELETE /admin/v1/providers/{id}`: removes a provider. Requests that it answers go on.
///
/// # Errors
/// There is no such provider, it stands in `config.toml`, or the database refuses.
pub async fn remove(State(store): Store, Path(name): Path<String>) -> Result<Json<ProviderView>, Refusal> {
    let record = store.remove(&name).await?;
    tracing::info!(provider = name, "a provider was removed");
    Ok(Json(view(record)))
}

/// `POST /admin/v1/providers/{id}/test`: asks a provider for its list of models. A failure is part of the answer.
///
/// # Errors
/// There is no such provider.
pub async fn test(
    State(services): State<Services>,
    Path(name): Path<String>,
) -> Result<Json<ProviderTest>, ApiError> {
    Ok(Json(outcome(services.dispatcher.probe(&name).await?)))
}

/// `POST /admin/v1/test-provider`: asks a provider that is not made yet. Nothing is stored.
///
/// # Errors
/// A wrong field.
pub async fn try_out(request: Request) -> Result<Json<ProviderTest>, Refusal> {
    let mut input: ProviderInput = body::json(request).await?;
    let name = name_of(&mut input)?;
    let (provider, _) = checked(&name, input)?;
    Ok(Json(outcome(providers::probe(&name, &provider).await)))
}

/// Every provider.
///
/// # Errors
/// The database refuses.
pub async fn all(store: &RoutingStore) -> Result<ProviderViews, Refusal> {
    let loaded = store.load().await?;
    Ok(ProviderViews { providers: loaded.providers.into_iter().map(view).collect() })
}

/// Makes a provider.
///
/// # Errors
/// As [`create`].
pub async fn make(store: &RoutingStore, mut input: ProviderInput) -> Result<ProviderView, Refusal> {
    let name = name_of(&mut input)?;
    let (provider, enabled) = checked(&name, input)?;
    let record = store.add(&name, &provider, enabled).await?;
    tracing::info!(provider = name, "a provider was made");
    Ok(view(record))
}

fn name_of(input: &mut ProviderInput) -> Result<String> {
    input.name.take().ok_or_else(|| Error::invalid("name", "name is missing"))
}

/// The provider that an input describes, and whether its models are to be offered.
///
/// # Errors
/// A field that cannot be. It is named.
fn checked(name: &str, settings: ProviderInput) -> Result<(Provider, bool)> {
    let key = settings.api_key.flatten();
    check_key(key.as_ref())?;
    if settings.models.len() > MAX_MODELS {
        return Err(Error::invalid("models", format!("models has more than {MAX_MODELS} models")));
    }
    let timeout_seconds = settings.timeout_seconds.unwrap_or(DEFAULT_TIMEOUT_SECONDS);
    if timeout_seconds == 0 {
        return Err(Error::invalid("timeout_seconds", "timeout_seconds must be at least 1"));
    }
    if settings.idle_seconds == Some(0) {
        return Err(Error::invalid("idle_seconds", "idle_seconds must be at least 1"));
    }
    let provider = Provider {
        kind: settings.kind,
        url: settings.url.trim_end_matches('/').to_owned(),
        api_key: key,
        api_key_env: None,
        headers: settings.headers,
        models: settings.models,
        timeout_seconds,
        idle_seconds: settings.idle_seconds,
        allow_link_local: settings.allow_link_local,
        limits: settings.limits.unwrap_or_default(),
    };
    provider.check(name).map_err(|problem| {
        let field = problem.split(':').next().unwrap_or_default().to_owned();
        Error::invalid(field, problem)
    })?;
    providers::check(name, &provider)?;
    Ok((provider, settings.enabled))
}

/// Checks that a key can stand in a header.
///
/// # Errors
/// It is empty, or has other characters than those of visible ASCII.
pub fn check_key(key: Option<&SecretString>) -> Result<()> {
    let Some(key) = key.map(ExposeSecret::expose_secret) else { return Ok(()) };
    if key.is_empty() {
        return Err(Error::invalid("api_key", "api_key must not be empty; leave it out for none"));
    }
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Error::invalid("api_key", "api_key must have visible ASCII characters only"));
    }
    Ok(())
}

/// A provider as it is shown.
pub fn view(record: ProviderRecord) -> ProviderView {
    let Provider { kind, url, headers, models, timeout_seconds, idle_seconds, .. } = record.provider;
    let Provider { allow_link_local, limits, .. } = record.provider;
    ProviderView {
        name: record.name,
        source: record.source,
        kind,
        url,
        has_key: record.has_key,
        last_four: record.last_four,
        headers,
        models,
        timeout_seconds,
        idle_seconds,
        allow_link_local,
        limits,
        enabled: record.enabled,
        problem: record.problem,
        created_at: record.created_at,
        updated_at: record.updated_at,
    }
}

/// The outcome of a test.
pub fn outcome(probed: Result<providers::Probe>) -> ProviderTest {
    let probe = match probed {
        Ok(probe) => probe,
        Err(error) => return ProviderTest { problem: Some(error.message), ..ProviderTest::default() },
    };
    let models =
        probe.listed.into_iter().map(|model| DiscoveredModel { id: model.id, context: model.context });
    let models: Vec<DiscoveredModel> = models.collect();
    ProviderTest {
        ok: true,
        problem: None,
        listed_models: models.len(),
        missing_models: probe.missing,
        models,
        elapsed_ms: Some(u64::try_from(probe.elapsed.as_millis()).unwrap_or(u64::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn input(change: impl FnOnce(&mut Value)) -> Result<(Provider, bool)> {
        let mut input =
            json!({"name": "far", "kind": "openai", "url": "https://far.example/v1/", "models": ["m"]});
        change(&mut input);
        let mut input: ProviderInput = body::from_json(input)?;
        checked(&name_of(&mut input)?, input)
    }

    #[test]
    fn provider_without_further_fields_is_enabled_and_has_no_key() {
        let (provider, enabled) = input(|_| {}).unwrap();
        assert_eq!((&*provider.url, provider.timeout_seconds), ("https://far.example/v1", 600));
        assert!(enabled && provider.api_key.is_none() && !provider.allow_link_local);
    }

    #[test]
    fn wrong_field_is_named_and_no_value_of_a_key_is_quoted() {
        for (field, value) in [
            ("kind", json!("other")),
            ("url", json!("ftp://x")),
            ("url", json!("http://169.254.169.254/v1")),
            ("headers", json!({"authorization": "sk-hidden"})),
            ("models", json!([])),
            ("models[0]", json!([{"ID": "m"}])),
            ("timeout_seconds", json!(0)),
            ("idle_seconds", json!(0)),
            ("limits", json!({"tokens_per_minute": 0})),
            ("limits.requests_per_minute", json!({"requests_per_minute": -1})),
            ("limits", json!({"cost_per_day": 1})),
            ("api_key", json!("")),
            ("api_key", json!("sk-\nhidden")),
            ("api_key", json!(["sk-hidden"])),
            ("api_key", json!(7_777_777)),
            ("name", json!("a/b")),
            ("name", json!("local")),
        ] {
            let error =
                input(|input| input[field.split(['[', '.']).next().unwrap()] = value.clone()).unwrap_err();
            assert_eq!(error.field, Some(field.into()), "{value}: {error}");
            assert!(!error.message.contains("hidden") && !error.message.contains("7777"), "{error}");
        }
        let nameless = input(|input| drop(input.as_object_mut().unwrap().remove("name"))).unwrap_err();
        assert_eq!(nameless.field, Some("name".into()));
        for field in ["api_key_env", "priority"] {
            let error = input(|input| input[field] = "X".into()).unwrap_err();
            assert!(error.message.contains(field), "{error}");
        }
    }

    #[test]
    fn replacement_distinguishes_no_key_from_null() {
        let read = |more: Value| {
            let mut settings = json!({"kind": "openai", "url": "https://far.example", "models": ["m"]});
            settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            body::from_json::<ProviderInput>(settings).unwrap().api_key.map(|key| key.is_some())
        };
        assert_eq!(read(json!({})), None);
        assert_eq!(read(json!({"api_key": null})), Some(false));
        assert_eq!(read(json!({"api_key": "sk-1"})), Some(true));
    }
}
