//! Requests of web pages, which browsers mark with their origin.

use crate::fakes::Gateway;

/// The status of a request with these header lines.
fn status(gateway: &Gateway, method: &str, path: &str, headers: &str) -> u16 {
    let body = r#"{"model": "m", "prompt": "count 1"}"#;
    gateway.ask(method, path, headers, if method == "POST" { body } else { "" }).0
}

#[test]
fn foreign_page_is_refused_on_every_method_and_content_type() {
    let gateway = Gateway::start("");
    for (method, path) in [
        ("POST", "/v1/completions"),
        ("POST", "/admin/v1/models/m/unload"),
        ("PUT", "/admin/v1/models/m/settings"),
        ("DELETE", "/v1/responses/resp_1"),
        ("GET", "/v1/models"),
    ] {
        for content_type in ["application/json", "text/plain", "application/x-www-form-urlencoded"] {
            for page in ["origin: https://evil.test", "origin: null", "sec-fetch-site: cross-site"] {
                let headers = format!("content-type: {content_type}\r\n{page}\r\n");
                assert_eq!(status(&gateway, method, path, &headers), 403, "{method} {path} {headers}");
            }
        }
    }
    assert_eq!(gateway.asked(), 0, "no refused request reached the supervisor");
}

#[test]
fn own_page_and_program_are_served() {
    let gateway = Gateway::start("");
    for headers in ["", "origin: http://localhost\r\n", "sec-fetch-site: same-origin\r\n"] {
        assert_eq!(status(&gateway, "POST", "/v1/completions", headers), 200, "{headers}");
    }
}

#[test]
fn with_keys_the_key_decides() {
    let gateway = Gateway::start("sk-one");
    let foreign = "origin: https://evil.test\r\n";
    assert_eq!(status(&gateway, "POST", "/v1/completions", foreign), 401);
    let with_key = format!("{foreign}authorization: Bearer sk-one\r\n");
    assert_eq!(status(&gateway, "POST", "/v1/completions", &with_key), 200);
}
