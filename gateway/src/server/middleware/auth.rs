//! Checks API keys and sessions: the tenant of a request, the scopes of its key, and the key's limits.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use ipc_proto::{Error, ErrorKind, Origin, Result};

use crate::access::budget::{Moment, Standing};
use crate::access::key::Scope;
use crate::access::{Keys, Refusal, Tenant};
use crate::admin::login::{SessionId, Visitor};
use crate::dispatch::sse;
use crate::inference::request_id::RequestId;
use crate::protocols::common::rate_limits;
use crate::protocols::error::ApiError;
use crate::server::middleware::host::HostPolicy;
use crate::server::middleware::page;

/// Cookies of one name that are looked at. Browsers send several if they were set for different paths.
const MAX_COOKIES: usize = 4;

/// All keys in a request's headers. One valid key is enough.
fn keys_in(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let bearers = headers.get_all(header::AUTHORIZATION).iter().filter_map(|value| {
        let (scheme, key) = value.to_str().ok()?.trim_start().split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(key)
    });
    let api_keys = headers.get_all("x-api-key").iter().filter_map(|value| value.to_str().ok());
    bearers.chain(api_keys).map(str::trim)
}

/// Whether the request presents a key of any kind. Then no cookie counts.
fn has_key(headers: &HeaderMap) -> bool {
    headers.contains_key(header::AUTHORIZATION) || headers.contains_key("x-api-key")
}

/// The cookies of this name.
fn cookies<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    let pairs = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let named = pairs.flat_map(|pairs| pairs.split(';')).filter_map(move |pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name && !name.is_empty()).then_some(value)
    });
    named.take(MAX_COOKIES)
}

/// Lets requests with a valid key or session pass, or all requests if none is needed.
pub async fn check(State(hosts): State<Arc<HostPolicy>>, mut request: Request, next: Next) -> Response {
    let now = Moment::now();
    let keys = &hosts.keys;
    let mut admitted = admit(&hosts, &request, now);
    if admitted.is_err() && keys.are_loading() && presents_anything(request.headers()) {
        let ready = keys.ready().await;
        admitted = ready.map_err(Into::into).and_then(|()| admit(&hosts, &request, now));
    }
    match admitted {
        Ok((tenant, session)) => {
            let standing = tenant.standing(now);
            if tenant.stores_content()
                && let Some(id) = request.extensions_mut().get_mut::<RequestId>()
            {
                id.content = Some(Arc::default());
            }
            // Their streams say what happens on the server, for as long as they are read.
            let ended = is_admin(request.uri().path()).then(|| tenant.ended());
            request.extensions_mut().insert(tenant);
            request.extensions_mut().insert(session);
            let mut response = next.run(request).await;
            if let Some(ended) = ended.filter(|_| is_endless(&response)) {
                response = response
                    .map(|body| Body::from_stream(body.into_data_stream().take_until(Box::pin(ended))));
            }
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

/// Whether a response goes on for as long as it is read.
fn is_endless(response: &Response) -> bool {
    response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == sse::MEDIA_TYPE)
}

/// Finds out who sends a request that everybody may send: those of the sign-in. Pages of other origins may not begin or end a session.
pub async fn identify(State(hosts): State<Arc<HostPolicy>>, mut request: Request, next: Next) -> Response {
    if request.method() != Method::GET
        && let Err(error) = page::check(request.headers(), authority(&request), &hosts)
    {
        return ApiError(error).into_response();
    }
    let presents = presents_anything(request.headers());
    if presents
        && hosts.keys.are_loading()
        && let Err(error) = hosts.keys.ready().await
    {
        return ApiError(error).into_response();
    }
    let now = Moment::now();
    let visitor = match find(&hosts, &request, None, now) {
        Ok((tenant, session)) => Visitor { tenant: Some(tenant), session },
        // A key is sent on purpose, a cookie is not.
        Err(error) if has_key(request.headers()) => return ApiError(error).into_response(),
        Err(_) => Visitor::default(),
    };
    request.extensions_mut().insert(visitor);
    next.run(request).await
}

fn presents_anything(headers: &HeaderMap) -> bool {
    has_key(headers) || headers.contains_key(header::COOKIE)
}

fn authority(request: &Request) -> Option<&str> {
    request.uri().authority().map(|authority| authority.as_str())
}

/// Adds what is left of the key's limits, for the rate-limit headers.
fn mark(response: &mut Response, standing: Option<Standing>) {
    if let Some(standing) = standing {
        response.extensions_mut().insert(standing);
    }
}

fn admit(hosts: &HostPolicy, request: &Request, now: Moment) -> Result<(Tenant, SessionId), Box<Refusal>> {
    let scope = scope(request.method(), request.uri().path());
    let (tenant, session) = find(hosts, request, Some(scope), now)?;
    // Lists and other reads cost nothing.
    if scope != Scope::Inference || request.method() != Method::POST {
        return Ok((tenant, session));
    }
    Ok((tenant.admit(estimate(request.headers()), now)?, session))
}

/// The tenant of a key or, if there is none in the request, of a session.
fn find(
    hosts: &HostPolicy,
    request: &Request,
    scope: Option<Scope>,
    now: Moment,
) -> Result<(Tenant, SessionId)> {
    let (keys, headers): (&Keys, _) = (&hosts.keys, request.headers());
    let by_key = |scope| keys.find(keys_in(headers), scope, now).map(|tenant| (tenant, SessionId::default()));
    if has_key(headers) || !keys.are_needed() {
        return by_key(scope);
    }
    let sessions = keys.sessions();
    let name = sessions.cookie();
    let Some(session) = cookies(headers, &name).find_map(|token| sessions.find(token, now)) else {
        return by_key(scope);
    };
    page::check(headers, authority(request), hosts)?;
    if !page::has_mark(headers) {
        let text = format!("a session counts only in requests with the header {}", page::PAGE);
        return Err(Error::new(ErrorKind::Unauthorized, Origin::Client, text));
    }
    let tenant = Tenant::of(&session, scope.unwrap_or(Scope::AdminRead), now)?;
    Ok((tenant, SessionId(Some(session.record.id.clone()))))
}

fn is_admin(path: &str) -> bool {
    path.strip_prefix("/admin").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The scope that a key must have.
fn scope(method: &Method, path: &str) -> Scope {
    let is_under =
        |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    match *method {
        // It fills the disk, as POST /admin/v1/downloads does.
        _ if path == "/api/pull" => Scope::Admin,
        _ if !is_admin(path) && !is_under("/metrics") => Scope::Inference,
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
