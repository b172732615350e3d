//! Protects a server without API keys from web pages.
//!
//! A page on the internet can make its own name resolve to 127.0.0.1 (DNS rebinding). Its scripts then reach this server as if
//! they were local, but their requests carry the page's name in `Host`. Without keys, only IP addresses and `localhost` are
//! valid hosts.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::access::Keys;
use crate::protocols::error::unroutable;

/// Rejects requests to a name that is not this machine's own.
pub async fn check(State(keys): State<Arc<Keys>>, request: Request, next: Next) -> Response {
    let authority = request.uri().authority().map(|authority| authority.as_str());
    let host = authority.or_else(|| request.headers().get(header::HOST)?.to_str().ok());
    // HTTP/1.0 has no Host. Browsers always send one.
    if !keys.is_empty() || host.is_none_or(is_local) {
        return next.run(request).await;
    }
    unroutable(
        StatusCode::FORBIDDEN,
        "without API keys only requests to localhost or an IP address are answered",
    )
}

fn is_local(host: &str) -> bool {
    if let Some((address, _)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let name = name.strip_suffix('.').unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || name.parse::<Ipv4Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::is_local;

    #[test]
    fn host_is_local_for_addresses_and_localhost_only() {
        for host in [
            "localhost",
            "LOCALHOST:1",
            "127.0.0.1",
            "127.0.0.1:80",
            "[::1]:80",
            "192.168.0.7:10240",
            "localhost.",
        ] {
            assert!(is_local(host), "{host}");
        }
        for host in
            ["evil.test", "evil.test:10240", "localhost.evil.test", "127.0.0.1.evil.test", "[evil]", ""]
        {
            assert!(!is_local(host), "{host}");
        }
    }
}
