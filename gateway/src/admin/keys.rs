//! API keys in the admin API. A secret is shown once, in the answer that makes its key.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::Utc;
use ipc_proto::gateway::NamePattern;
use ipc_proto::{Error, ErrorKind, Origin, Result};
use secrecy::ExposeSecret;
use serde_json::Value;

use super::key_wire::{ApiKey, ApiKeys, KeyInput, KeyStatus, NewKey};
use crate::access::budget::Limits;
use crate::access::key::{KeyRecord, Rights, Scope};
use crate::access::secret;
use crate::protocols::common::body;
use crate::protocols::error::{ApiError, unroutable};
use crate::store::DbError;
use crate::store::key_store::KeyStore;

const MAX_NAME_CHARS: usize = 100;
const MAX_MODELS: usize = 100;

/// `GET /admin/v1/keys`.
///
/// # Errors
/// The database refuses.
pub async fn list(State(store): State<Arc<KeyStore>>) -> Result<Json<ApiKeys>, ApiError> {
    Ok(Json(all(&store).await?))
}

/// `GET /admin/v1/keys/{id}`.
pub async fn get(State(store): State<Arc<KeyStore>>, Path(id): Path<String>) -> Response {
    let found = store.get(&id).await.map_err(|e| refusal(&e));
    respond(&id, found.map(|found| found.map(view)))
}

/// `POST /admin/v1/keys`: makes a key.
///
/// # Errors
/// A wrong field, or the database refuses.
pub async fn create(State(store): State<Arc<KeyStore>>, request: Request) -> Result<Response, ApiError> {
    let input = body::json(request).await?;
    Ok((StatusCode::CREATED, Json(make(&store, input).await?)).into_response())
}

/// `DELETE /admin/v1/keys/{id}`: revokes a key. It stays in the list.
pub async fn revoke(State(store): State<Arc<KeyStore>>, Path(id): Path<String>) -> Response {
    respond(&id, end(&store, &id).await)
}

fn respond(id: &str, found: Result<Option<ApiKey>>) -> Response {
    match found {
        Ok(Some(key)) => Json(key).into_response(),
        Ok(None) => unroutable(
            StatusCode::NOT_FOUND,
            format!("there is no key \"{id}\"; GET /admin/v1/keys lists all"),
        ),
        Err(error) => ApiError(error).into_response(),
    }
}

/// Every key.
///
/// # Errors
/// The database refuses.
pub async fn all(store: &KeyStore) -> Result<ApiKeys> {
    let keys = store.list().await.map_err(|e| refusal(&e))?;
    Ok(ApiKeys { keys: keys.into_iter().map(view).collect() })
}

/// Makes a key. Its secret is shown this once.
///
/// # Errors
/// A wrong field, or the database refuses.
pub async fn make(store: &KeyStore, input: KeyInput) -> Result<NewKey> {
    let no_randomness = |e: getrandom::Error| {
        Error::new(ErrorKind::Internal, Origin::Gateway, format!("no random bytes: {e}"))
    };
    let text = secret::generate().map_err(no_randomness)?;
    let id = secret::generate_id("key").map_err(no_randomness)?;
    let record = check(input, id, text.expose_secret(), Utc::now().timestamp())?;
    store.add(&record).await.map_err(|e| refusal(&e))?;
    Ok(NewKey { key: view(record), secret: text.expose_secret().to_owned() })
}

/// Revokes a key. Returns `None` if there is no such key.
///
/// # Errors
/// The database refuses.
pub async fn end(store: &KeyStore, id: &str) -> Result<Option<ApiKey>> {
    Ok(store.revoke(id).await.map_err(|e| refusal(&e))?.map(view))
}

/// The error of a database that refuses.
pub(super) fn refusal(error: &DbError) -> Error {
    let kind = if error.is_temporary() { ErrorKind::Unavailable } else { ErrorKind::Internal };
    Error::new(kind, Origin::Gateway, error.to_string())
}

/// The key that an input describes.
///
/// # Errors
/// A field that cannot be. It is named.
fn check(input: KeyInput, id: String, secret: &str, now: i64) -> Result<KeyRecord> {
    let name = input.name.trim().to_owned();
    if name.is_empty() || name.chars().count() > MAX_NAME_CHARS || name.chars().any(char::is_control) {
        let text = format!("name must have 1 to {MAX_NAME_CHARS} characters, and no control characters");
        return Err(Error::invalid("name", text));
    }
    let mut scopes: Vec<Scope> = Vec::new();
    for scope in input.scopes.unwrap_or_else(|| vec![Scope::Inference]) {
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    if scopes.is_empty() {
        return Err(Error::invalid(
            "scopes",
            "scopes must name at least one: inference, admin or admin-read",
        ));
    }
    if input.models.len() > MAX_MODELS {
        return Err(Error::invalid("models", format!("models has more than {MAX_MODELS} names")));
    }
    let models = input.models.into_iter().map(pattern).collect::<Result<Vec<_>>>()?;
    for (field, value) in [
        ("requests_per_minute", input.requests_per_minute.map(u64::from)),
        ("tokens_per_minute", input.tokens_per_minute.map(u64::from)),
        ("tokens_per_day", input.tokens_per_day),
        ("tokens_per_month", input.tokens_per_month),
    ] {
        if value == Some(0) {
            return Err(Error::invalid(field, format!("{field} must be at least 1")));
        }
    }
    if input.expires_at.is_some_and(|at| at <= now) {
        return Err(Error::invalid(
            "expires_at",
            format!("expires_at must be in the future: it is {now} now"),
        ));
    }
    Ok(KeyRecord {
        id,
        name,
        digest: secret::digest(secret),
        last_four: secret::last_four(secret),
        rights: Rights { scopes, models, local_only: input.local_only, priority: input.priority },
        limits: Limits {
            requests_per_minute: input.requests_per_minute,
            tokens_per_minute: input.tokens_per_minute,
            tokens_per_day: input.tokens_per_day,
            tokens_per_month: input.tokens_per_month,
            cost_per_day: input.cost_per_day,
            cost_per_month: input.cost_per_month,
        },
        store_content: input.store_content,
        created_at: now,
        expires_at: input.expires_at,
        last_used_at: None,
        revoked_at: None,
    })
}

fn pattern(text: String) -> Result<NamePattern> {
    serde_json::from_value(Value::from(text)).map_err(|e| Error::invalid("models", format!("models: {e}")))
}

fn view(key: KeyRecord) -> ApiKey {
    let status = match (key.revoked_at, key.expires_at) {
        (Some(_), _) => KeyStatus::Revoked,
        (None, Some(at)) if at <= Utc::now().timestamp() => KeyStatus::Expired,
        _ => KeyStatus::Active,
    };
    ApiKey {
        id: key.id,
        name: key.name,
        status,
        last_four: key.last_four,
        scopes: key.rights.scopes,
        models: key.rights.models.iter().map(String::from).collect(),
        local_only: key.rights.local_only,
        priority: key.rights.priority,
        limits: key.limits,
        store_content: key.store_content,
        created_at: key.created_at,
        expires_at: key.expires_at,
        last_used_at: key.last_used_at,
        revoked_at: key.revoked_at,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn input(value: Value) -> Result<KeyRecord> {
        check(body::from_json(value)?, "key_1".into(), "mlxd_secret", 1000)
    }

    #[test]
    fn key_without_further_fields_may_infer_without_limits() {
        let key = input(json!({"name": " laptop "})).unwrap();
        assert_eq!((&*key.name, &*key.last_four, key.created_at), ("laptop", "cret", 1000));
        assert_eq!(key.rights.scopes, [Scope::Inference]);
        assert_eq!((key.limits, key.expires_at), (Limits::default(), None));
        assert!(key.rights.models.is_empty() && !key.rights.local_only && key.rights.priority.is_none());
        assert!(!key.store_content);
    }

    #[test]
    fn wrong_field_is_named() {
        for (value, field) in [
            (json!({"name": ""}), "name"),
            (json!({"name": "a\u{7}"}), "name"),
            (json!({"name": "a", "scopes": []}), "scopes"),
            (json!({"name": "a", "scopes": ["root"]}), "scopes[0]"),
            (json!({"name": "a", "models": ["a*b"]}), "models"),
            (json!({"name": "a", "requests_per_minute": 0}), "requests_per_minute"),
            (json!({"name": "a", "tokens_per_month": 0}), "tokens_per_month"),
            (json!({"name": "a", "expires_at": 1000}), "expires_at"),
            (json!({"name": "a", "priority": "urgent"}), "priority"),
        ] {
            let error = input(value.clone()).unwrap_err();
            assert_eq!(error.field, Some(field.into()), "{value}: {error}");
        }
        let unknown = input(json!({"name": "a", "cost_per_year": 1})).unwrap_err();
        assert!(unknown.message.contains("cost_per_year"), "{unknown}");
    }

    #[test]
    fn shown_key_has_no_digest() {
        let key =
            input(json!({"name": "a", "scopes": ["admin-read", "admin-read"], "models": ["org/*"]})).unwrap();
        let shown = serde_json::to_value(view(key)).unwrap();
        assert_eq!((&shown["scopes"], &shown["models"]), (&json!(["admin-read"]), &json!(["org/*"])));
        assert_eq!(shown["status"], "active");
        assert!(shown["tokens_per_day"].is_null() && shown.get("limits").is_none(), "{shown}");
        assert!(!shown.to_string().contains("digest"), "{shown}");
    }
}
