//! Web pages of other origins: none may read an answer but those on the list.

use axum::http::{HeaderValue, Method};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer, ExposeHeaders};

/// The layer for a comma-separated list of origins such as `https://chat.example`, or `*` for all; `None` where it is empty.
///
/// # Errors
/// Naming the entry that is no origin.
pub fn layer(list: &str) -> Result<Option<CorsLayer>, String> {
    let entries: Vec<&str> = list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).collect();
    let origins = match entries.as_slice() {
        [] => return Ok(None),
        ["*"] => AllowOrigin::any(),
        entries => {
            let origins: Result<Vec<HeaderValue>, String> =
                entries.iter().map(|entry| origin(entry)).collect();
            AllowOrigin::list(origins?)
        }
    };
    let layer = CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        // Clients send headers of their own with everything: X-Stainless-…, and more each year.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(ExposeHeaders::any());
    Ok(Some(layer))
}

fn origin(entry: &str) -> Result<HeaderValue, String> {
    let wrong = || format!("\"{entry}\" is no origin, such as https://chat.example");
    let host = entry.split_once("://").map(|(_, host)| host).ok_or_else(wrong)?;
    if host.is_empty() || host.contains(['/', '*', '?', '#']) {
        return Err(wrong());
    }
    HeaderValue::from_str(entry).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::layer;

    #[test]
    fn only_origins_are_taken() {
        for list in ["https://a.example", " http://localhost:3000 , https://b.example,", "*"] {
            assert!(layer(list).unwrap().is_some(), "{list}");
        }
        assert!(layer(" , ").unwrap().is_none());
        for list in
            ["a.example", "https://", "https://a.example/x", "https://*.example", "*, https://a.example"]
        {
            assert!(layer(list).is_err(), "{list}");
        }
    }
}
