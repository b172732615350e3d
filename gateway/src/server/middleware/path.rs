//! Refuses paths that are no text. The extractors of ids would answer them too, but not in the client's protocol.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use percent_encoding::percent_decode_str;

use crate::protocols::error::unroutable;

/// Lets requests pass whose path is UTF-8 when its percent signs are decoded.
pub async fn check(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if percent_decode_str(path).decode_utf8().is_ok() {
        return next.run(request).await;
    }
    unroutable(StatusCode::BAD_REQUEST, format!("the path {path} is not UTF-8 when it is decoded"))
}
