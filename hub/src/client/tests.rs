//! Headers and addresses.

use super::*;

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &'static str)| {
        (name.parse::<reqwest::header::HeaderName>().unwrap(), value.parse().unwrap())
    };
    pairs.iter().map(pair).collect()
}

fn hub(endpoint: &str) -> Hub {
    let endpoint = endpoint.to_owned();
    let variable = move |name: &str| match name {
        "HF_ENDPOINT" => Some(endpoint.clone()),
        "HOME" => Some("/h".to_owned()),
        _ => None,
    };
    Hub::new(Settings::from_variables(variable).unwrap()).unwrap()
}

#[test]
fn next_page_is_the_link_with_that_relation() {
    let link = "<http://h/a?cursor=1>; rel=\"next\", <http://h/b>; rel=\"xet-auth\"";
    assert_eq!(next_page(&headers(&[("link", link)])).as_deref(), Some("http://h/a?cursor=1"));
    assert_eq!(next_page(&headers(&[("link", "<http://h/b>; rel=\"xet-auth\"")])), None);
}

#[test]
fn content_range_has_the_first_byte_and_the_size() {
    assert_eq!(content_range(&headers(&[("content-range", "bytes 5-9/100")])), Some((5, Some(100))));
    assert_eq!(content_range(&headers(&[("content-range", "bytes 5-9/*")])), Some((5, None)));
    assert_eq!(content_range(&headers(&[])), None);
}

#[test]
fn weak_etag_is_no_version() {
    assert_eq!(version(&headers(&[("etag", "\"a\"")])).as_deref(), Some("\"a\""));
    assert_eq!(version(&headers(&[("etag", "W/\"a\"")])), None);
}

#[test]
fn addresses_quote_what_a_path_cannot_have() {
    let hub = hub("http://mirror:8080/base");
    let url = hub.resolve_url("o/m", "refs/pr/1", "a b/c#d?e.json");
    assert_eq!(url.as_str(), "http://mirror:8080/base/o/m/resolve/refs%2Fpr%2F1/a%20b/c%23d%3Fe.json");
}

#[test]
fn token_may_go_to_the_hub_only() {
    let hub = hub("https://hub.example");
    let is_own = |url: &str| hub.is_own(&Url::parse(url).unwrap());
    assert!(is_own("https://hub.example/x") && is_own("https://hub.example:443/x"));
    for other in
        ["http://hub.example/x", "https://hub.example:444/", "https://cdn.hub.example/", "https://x/"]
    {
        assert!(!is_own(other), "{other}");
    }
}
