//! Checks API keys.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ipc_proto::{Error, ErrorKind, Origin};

use crate::access::{Keys, Tenant};
use crate::protocols::error::ApiError;

/// All keys in a request's headers. One valid key is enough.
fn keys_in(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let bearers = headers.get_all(header::AUTHORIZATION).iter().filter_map(|value| {
        let (scheme, key) = value.to_str().ok()?.trim_start().split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(key)
    });
    let api_keys = headers.get_all("x-api-key").iter().filter_map(|value| value.to_str().ok());
    bearers.chain(api_keys).map(str::trim)
}

/// Lets requests with a valid key pass, or all requests if no keys are configured.
pub async fn check(State(keys): State<Arc<Keys>>, mut request: Request, next: Next) -> Response {
    let tenant = if keys.is_empty() {
        Some(Tenant::default())
    } else {
        keys_in(request.headers()).find_map(|key| keys.tenant(key)).cloned()
    };
    if let Some(tenant) = tenant {
        request.extensions_mut().insert(tenant);
        return next.run(request).await;
    }
    let text = "a valid API key is needed: send it as \"Authorization: Bearer KEY\"";
    ApiError(Error::new(ErrorKind::Unauthorized, Origin::Client, text)).into_response()
}
