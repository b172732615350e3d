//! Refuses WebSocket upgrades at paths that take none. A client that tries would otherwise wait, or read another error.

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::protocols::error::unroutable;

/// The path that takes upgrades.
const PATH: &str = "/v1/responses";

/// Lets requests pass, except upgrades at other paths.
pub async fn check(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path == PATH || !is_upgrade(request.headers()) {
        return next.run(request).await;
    }
    let text = format!("{path} takes no WebSocket connections, only {PATH} does");
    unroutable(StatusCode::BAD_REQUEST, text)
}

fn is_upgrade(headers: &HeaderMap) -> bool {
    let wanted = headers.get_all(header::UPGRADE).iter().filter_map(|value| value.to_str().ok());
    wanted.flat_map(|value| value.split(',')).any(|name| name.trim().eq_ignore_ascii_case("websocket"))
}
