//! Cross-origin requests: only pages of configured origins may read responses.

use axum::http::header::InvalidHeaderValue;
use axum::http::{HeaderValue, Method};
use ipc_proto::gateway::CorsOrigins;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer, ExposeHeaders};

/// The layer for these origins; `None` if there are none.
///
/// # Errors
/// An origin that is no valid header value. A parsed configuration has none.
pub fn layer(origins: &CorsOrigins) -> Result<Option<CorsLayer>, InvalidHeaderValue> {
    let allowed = match origins {
        CorsOrigins::Any => AllowOrigin::any(),
        CorsOrigins::Only(origins) if origins.is_empty() => return Ok(None),
        CorsOrigins::Only(origins) => {
            let values: Result<Vec<HeaderValue>, _> =
                origins.iter().map(|origin| HeaderValue::from_str(origin)).collect();
            AllowOrigin::list(values?)
        }
    };
    let layer = CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        // SDKs send their own headers, such as X-Stainless-…, and add new ones.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(ExposeHeaders::any());
    Ok(Some(layer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layer_exists_if_any_origin_is_configured() {
        let only =
            |origins: &[&str]| CorsOrigins::Only(origins.iter().map(|origin| (*origin).into()).collect());
        assert!(layer(&only(&["https://a.example", "http://localhost:3000"])).unwrap().is_some());
        assert!(layer(&CorsOrigins::Any).unwrap().is_some());
        assert!(layer(&CorsOrigins::default()).unwrap().is_none());
        assert!(layer(&only(&["https://a\n"])).is_err());
    }
}
