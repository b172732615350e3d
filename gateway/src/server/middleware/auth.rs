//! Checks API keys.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ipc_proto::{Error, ErrorKind, Origin};

use crate::access::{Keys, Tenant};
use crate::protocols::error::ApiError;

/// Every key that a request carries: a wrong one does not hide a right one.
fn presented(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let bearers = headers.get_all(header::AUTHORIZATION).iter().filter_map(|value| {
        let (scheme, key) = value.to_str().ok()?.trim_start().split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(key)
    });
    let own = headers.get_all("x-api-key").iter().filter_map(|value| value.to_str().ok());
    bearers.chain(own).map(str::trim)
}

/// Lets requests with a key pass, or all where none is configured.
pub async fn check(State(keys): State<Arc<Keys>>, mut request: Request, next: Next) -> Response {
    let tenant = match keys.is_empty() {
        true => Some(Tenant::default()),
        false => presented(request.headers()).find_map(|key| keys.tenant(key)).cloned(),
    };
    if let Some(tenant) = tenant {
        request.extensions_mut().insert(tenant);
        return next.run(request).await;
    }
    let text = "a valid API key is needed: send it as \"Authorization: Bearer KEY\"";
    ApiError(Error::new(ErrorKind::Unauthorized, Origin::Client, text)).into_response()
}
