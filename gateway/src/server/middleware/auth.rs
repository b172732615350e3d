//! Checks API keys: the tenant of a request, the scopes of its key, and the key's limits.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::access::budget::{Moment, Standing};
use crate::access::key::Scope;
use crate::access::{Keys, Refusal, Tenant};
use crate::inference::request_id::RequestId;
use crate::protocols::common::rate_limits;
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

/// Lets requests with a valid key pass, or all requests if no keys are needed.
pub async fn check(State(keys): State<Arc<Keys>>, mut request: Request, next: Next) -> Response {
    let now = Moment::now();
    let mut admitted = admit(&keys, &request, now);
    if admitted.is_err() && keys.are_loading() && keys_in(request.headers()).next().is_some() {
        let ready = keys.ready().await;
        admitted = ready.map_err(Into::into).and_then(|()| admit(&keys, &request, now));
    }
    match admitted {
        Ok(tenant) => {
            let standing = tenant.standing(now);
            if tenant.stores_content()
                && let Some(id) = request.extensions_mut().get_mut::<RequestId>()
            {
                id.content = Some(Arc::default());
            }
            request.extensions_mut().insert(tenant);
            let mut response = next.run(request).await;
            mark(&mut response, standing);
            response
        }
        Err(refusal) => {
            let Refusal { error, standing } = *refusal;
            let mut response = ApiError(error).into_response();
            mark(&mut response, standing);
            response
        }
    }
}

/// Adds what is left of the key's limits, for the rate-limit headers.
fn mark(response: &mut Response, standing: Option<Standing>) {
    if let Some(standing) = standing {
        response.extensions_mut().insert(standing);
    }
}

fn admit(keys: &Keys, request: &Request, now: Moment) -> Result<Tenant, Box<Refusal>> {
    let scope = scope(request.method(), request.uri().path());
    let tenant = keys.find(keys_in(request.headers()), scope, now)?;
    // Lists and other reads cost nothing.
    if scope != Scope::Inference || request.method() != Method::POST {
        return Ok(tenant);
    }
    tenant.admit(estimate(request.headers()), now)
}

/// The scope that a key must have.
fn scope(method: &Method, path: &str) -> Scope {
    let is_under =
        |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    match *method {
        // It fills the disk, as POST /admin/v1/downloads does.
        _ if path == "/api/pull" => Scope::Admin,
        _ if !is_under("/admin") && !is_under("/metrics") => Scope::Inference,
        Method::GET | Method::HEAD => Scope::AdminRead,
        _ => Scope::Admin,
    }
}

/// About how many tokens the prompt of a request has. 0 if the body's length is unknown.
fn estimate(headers: &HeaderMap) -> u32 {
    let length =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    rate_limits::estimate(length.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_paths_need_the_scope_of_the_method() {
        for (method, path, expected) in [
            (Method::GET, "/admin/v1/models", Scope::AdminRead),
            (Method::HEAD, "/metrics", Scope::AdminRead),
            (Method::PUT, "/admin/v1/models/m/settings", Scope::Admin),
            (Method::DELETE, "/admin/v1/keys/key_1", Scope::Admin),
            (Method::OPTIONS, "/admin", Scope::Admin),
            (Method::GET, "/admin/v1/hub/search", Scope::AdminRead),
            (Method::PATCH, "/admin/v1/downloads/d1", Scope::Admin),
            (Method::POST, "/api/pull", Scope::Admin),
            (Method::POST, "/v1/chat/completions", Scope::Inference),
            (Method::GET, "/administrators", Scope::Inference),
            (Method::DELETE, "/v1/responses/admin", Scope::Inference),
        ] {
            assert_eq!(scope(&method, path), expected, "{method} {path}");
        }
    }
}
