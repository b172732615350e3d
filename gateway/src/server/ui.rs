//! Serves the web UI: `/` to browsers, and its files. All are in the program, as `cargo xtask ui` built and compressed them.
//!
//! The page works with fragments of its address, so that no path of an API is taken. It needs no key: its requests do.

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::protocols::error::unroutable;

/// One embedded file, also compressed if it is text.
struct File {
    name: &'static str,
    plain: &'static [u8],
    brotli: Option<&'static [u8]>,
    gzip: Option<&'static [u8]>,
}

include!(concat!(env!("OUT_DIR"), "/ui_files.rs"));

const INDEX: &str = "index.html";
const GREETING: &str = "mlxd is running. The API is at /v1 (OpenAI): GET /v1/models lists the models.\n";
const NOT_BUILT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>mlxd</title>\
    <p>mlxd is running, and this build has no web UI: run <code>cargo xtask ui</code> and build again.\
    <p>The API is at <a href=\"/docs\">/v1</a>.</html>\n";

/// Only this server's files, no inline script or style, no page around this one.
const POLICY: &str = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// `GET /`: the page for browsers, a line of text for clients that probe the address.
pub async fn index(headers: HeaderMap) -> Response {
    let mut response = if wants_html(&headers) {
        match FILES.iter().find(|file| file.name == INDEX) {
            Some(file) => send(file, &headers, "no-cache"),
            None => ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], NOT_BUILT).into_response(),
        }
    } else {
        GREETING.into_response()
    };
    response.headers_mut().append(header::VARY, HeaderValue::from_static("accept"));
    response
}

/// `GET /ui/assets/{name}`: a file whose name has its hash, so that it never changes.
pub async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    match FILES.iter().find(|file| file.name == name && file.name != INDEX) {
        Some(file) => send(file, &headers, "public, max-age=31536000, immutable"),
        None => unroutable(StatusCode::NOT_FOUND, format!("the web UI has no file \"{name}\"")),
    }
}

fn send(file: &File, request: &HeaderMap, caching: &'static str) -> Response {
    let (encoding, bytes) = choose(file, request);
    let mut response = bytes.into_response();
    let headers = response.headers_mut();
    let mut set = |name, value| headers.insert(name, HeaderValue::from_static(value));
    set(header::CONTENT_TYPE, media_type(file.name));
    set(header::CACHE_CONTROL, caching);
    set(header::CONTENT_SECURITY_POLICY, POLICY);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "no-referrer");
    set(header::VARY, "accept-encoding");
    if let Some(encoding) = encoding {
        set(header::CONTENT_ENCODING, encoding);
    }
    response
}

/// The smallest form that the client takes. Browsers take Brotli over HTTPS and from this machine only.
fn choose(file: &File, request: &HeaderMap) -> (Option<&'static str>, &'static [u8]) {
    let forms = [("br", file.brotli), ("gzip", file.gzip)];
    let taken =
        forms.into_iter().find_map(|(name, bytes)| Some((name, bytes.filter(|_| accepts(request, name))?)));
    taken.map_or((None, file.plain), |(name, bytes)| (Some(name), bytes))
}

fn accepts(request: &HeaderMap, encoding: &str) -> bool {
    let listed = request.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let mut entries = listed.flat_map(|value| value.split(',')).map(|entry| {
        let (name, weight) = entry.split_once(';').unwrap_or((entry, ""));
        (name.trim(), weight.trim())
    });
    entries.any(|(name, weight)| {
        name.eq_ignore_ascii_case(encoding) && !matches!(weight, "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
    })
}

fn wants_html(headers: &HeaderMap) -> bool {
    let mut accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.any(|value| value.contains("text/html"))
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: File = File { name: "a.js", plain: b"plain", brotli: Some(b"br"), gzip: Some(b"gz") };

    fn headers(name: header::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn encoding_is_the_smallest_that_the_client_takes() {
        for (accepted, expected) in [
            ("gzip, deflate, br, zstd", Some("br")),
            ("gzip, deflate", Some("gzip")),
            ("br;q=0, GZIP;q=0.5", Some("gzip")),
            ("identity", None),
            ("", None),
        ] {
            let (encoding, bytes) = choose(&FILE, &headers(header::ACCEPT_ENCODING, accepted));
            assert_eq!(encoding, expected, "{accepted}");
            assert_eq!(bytes, expected.map_or(&b"plain"[..], |name| &name.as_bytes()[..2]), "{accepted}");
        }
        let plain_only = File { brotli: None, gzip: None, ..FILE };
        assert_eq!(choose(&plain_only, &headers(header::ACCEPT_ENCODING, "br")), (None, &b"plain"[..]));
    }

    #[tokio::test]
    async fn greeting_is_plain_text_unless_html_is_accepted() {
        let plain = index(headers(header::ACCEPT, "*/*")).await;
        assert_eq!(plain.headers()[header::CONTENT_TYPE], "text/plain; charset=utf-8");
        let page = index(headers(header::ACCEPT, "text/html,application/xhtml+xml,*/*;q=0.8")).await;
        assert_eq!(page.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
    }

    #[tokio::test]
    async fn sent_file_has_the_policy_and_its_caching() {
        let response = send(&FILE, &headers(header::ACCEPT_ENCODING, "br"), "no-cache");
        let header = |name| response.headers()[name].to_str().unwrap();
        assert_eq!(header(header::CACHE_CONTROL), "no-cache");
        assert_eq!(header(header::CONTENT_TYPE), "text/javascript; charset=utf-8");
        let policy = header(header::CONTENT_SECURITY_POLICY);
        assert!(policy.starts_with("default-src 'self';") && !policy.contains("unsafe"), "{policy}");
    }

    #[tokio::test]
    async fn unknown_asset_is_not_found() {
        for name in ["none.js", "index.html", "../index.html"] {
            assert_eq!(asset(Path(name.into()), HeaderMap::new()).await.status(), StatusCode::NOT_FOUND);
        }
    }
}
