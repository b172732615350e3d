//! Keeps other web pages from using a server without keys.
//!
//! A browser sends a page's requests to any address, localhost included. The page cannot read the response, but the request
//! takes effect. Browsers name the page's origin in `Origin` or say `cross-site` in `Sec-Fetch-Site`
//! (<https://www.w3.org/TR/fetch-metadata/>). Such requests are refused unless the origin is configured. With keys no check is
//! needed: a foreign page has none. Sessions are in cookies, which browsers send by themselves: [`super::page`] checks those.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use ipc_proto::gateway::CorsOrigins;

use crate::access::Keys;
use crate::protocols::error::unroutable;
use crate::server::middleware::cors::allows;

/// The settings that decide which pages may send requests.
#[derive(Debug)]
pub struct OriginPolicy {
    /// The keys that open the API.
    pub keys: Arc<Keys>,
    /// The configured origins.
    pub allowed: CorsOrigins,
}

/// Refuses requests of pages of other origins.
pub async fn check(State(policy): State<Arc<OriginPolicy>>, request: Request, next: Next) -> Response {
    if policy.keys.are_needed() || !is_foreign(request.method(), request.headers(), &policy.allowed) {
        return next.run(request).await;
    }
    unroutable(
        StatusCode::FORBIDDEN,
        "a web page of another origin sent this request; the setting cors_origins lists the pages that may",
    )
}

fn is_foreign(method: &Method, headers: &HeaderMap, allowed: &CorsOrigins) -> bool {
    let value = |name| headers.get(name).and_then(|value: &header::HeaderValue| value.to_str().ok());
    if let Some(origin) = headers.get(header::ORIGIN) {
        let origin = origin.to_str().unwrap_or_default();
        return !allows(allowed, origin) && !is_same_origin(origin, value(header::HOST).unwrap_or_default());
    }
    // A link may lead here. A navigation replaces the page of the other origin.
    let navigates = *method == Method::GET
        && headers.get("sec-fetch-mode").is_some_and(|mode| mode == "navigate")
        && headers.get("sec-fetch-dest").is_some_and(|target| target == "document");
    headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site")
        && !navigates
        && *allowed != CorsOrigins::Any
}

/// Whether the page comes from this server. A proxy in front may speak HTTPS.
pub(super) fn is_same_origin(origin: &str, host: &str) -> bool {
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    !host.is_empty() && authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    fn refused(pairs: &[(&'static str, &'static str)], allowed: &CorsOrigins) -> bool {
        is_foreign(&Method::POST, &headers(pairs), allowed)
    }

    #[test]
    fn request_of_a_program_is_no_pages() {
        let none = CorsOrigins::default();
        assert!(!refused(&[("host", "localhost:10240")], &none));
        assert!(!refused(&[("host", "localhost:10240"), ("content-type", "text/plain")], &none));
    }

    #[test]
    fn page_of_another_origin_is_refused() {
        let none = CorsOrigins::default();
        for origin in
            ["https://evil.test", "http://localhost:3000", "null", "http://localhost:10240.evil.test"]
        {
            assert!(refused(&[("host", "localhost:10240"), ("origin", origin)], &none), "{origin}");
        }
        assert!(refused(&[("host", "localhost:10240"), ("sec-fetch-site", "cross-site")], &none));
    }

    #[test]
    fn own_page_and_listed_page_pass() {
        let listed = CorsOrigins::Only(vec!["http://localhost:3000".into()]);
        for (host, origin) in [
            ("localhost:10240", "http://localhost:10240"),
            ("chat.example", "https://chat.example"),
            ("localhost:10240", "http://localhost:3000"),
        ] {
            assert!(!refused(&[("host", host), ("origin", origin)], &listed), "{origin}");
        }
        let cross_site = [("origin", "https://a.example"), ("sec-fetch-site", "cross-site")];
        assert!(!refused(&cross_site, &CorsOrigins::Any));
    }

    #[test]
    fn link_from_another_page_may_be_followed() {
        let navigation = headers(&[
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ]);
        assert!(!is_foreign(&Method::GET, &navigation, &CorsOrigins::default()));
        assert!(is_foreign(&Method::POST, &navigation, &CorsOrigins::default()));
        let frame = headers(&[
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "iframe"),
        ]);
        assert!(is_foreign(&Method::GET, &frame, &CorsOrigins::default()));
    }
}
