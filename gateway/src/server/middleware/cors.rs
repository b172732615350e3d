//! Cross-origin requests: only pages of configured origins may read responses.

use axum::http::{HeaderValue, Method};
use ipc_proto::gateway::{CorsOrigins, LOCALHOST};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer, ExposeHeaders};

/// Names and addresses of this machine in origins.
const LOCAL_HOSTS: [&str; 3] = [LOCALHOST, "127.0.0.1", "[::1]"];

/// The layer for these origins; `None` if there are none.
pub fn layer(origins: &CorsOrigins) -> Option<CorsLayer> {
    let allowed = match origins {
        CorsOrigins::Any => AllowOrigin::any(),
        CorsOrigins::Only(listed) if listed.is_empty() => return None,
        CorsOrigins::Only(_) => {
            let origins = origins.clone();
            AllowOrigin::predicate(move |origin: &HeaderValue, _| {
                origin.to_str().is_ok_and(|origin| allows(&origins, origin))
            })
        }
    };
    let layer = CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        // SDKs send their own headers, such as X-Stainless-…, and add new ones.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(ExposeHeaders::any());
    Some(layer)
}

/// Whether pages of `origin` may read responses.
pub fn allows(origins: &CorsOrigins, origin: &str) -> bool {
    match origins {
        CorsOrigins::Any => true,
        CorsOrigins::Only(listed) => listed
            .iter()
            .any(|entry| entry.eq_ignore_ascii_case(origin) || (entry == LOCALHOST && is_local(origin))),
    }
}

/// Whether the origin is this machine, on any port.
fn is_local(origin: &str) -> bool {
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| {
        LOCAL_HOSTS.iter().any(|host| {
            let rest = authority.strip_prefix(host);
            let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
            rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(origins: &[&str]) -> CorsOrigins {
        CorsOrigins::Only(origins.iter().map(|origin| (*origin).into()).collect())
    }

    #[test]
    fn layer_exists_if_any_origin_is_configured() {
        assert!(layer(&only(&["https://a.example", "http://localhost:3000"])).is_some());
        assert!(layer(&CorsOrigins::Any).is_some());
        assert!(layer(&CorsOrigins::default()).is_none());
    }

    #[test]
    fn localhost_allows_this_machine_on_any_port() {
        let listed = only(&["https://a.example", LOCALHOST]);
        for origin in [
            "http://localhost",
            "http://localhost:3000",
            "https://localhost:8443",
            "http://127.0.0.1:5173",
            "http://[::1]:80",
            "https://a.example",
        ] {
            assert!(allows(&listed, origin), "{origin}");
        }
        for origin in [
            "http://localhost.evil.test",
            "http://localhost:80.evil.test",
            "http://localhostevil",
            "http://localhost3000",
            "http://evil.test",
            "null",
        ] {
            assert!(!allows(&listed, origin), "{origin}");
        }
        assert!(!allows(&only(&["https://a.example"]), "http://localhost:3000"));
    }
}
