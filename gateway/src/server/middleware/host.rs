//! Protects a server without API keys from web pages.
//!
//! A page on the internet can make its own name resolve to 127.0.0.1 (DNS rebinding). Its scripts then reach this server as if
//! they were local, but their requests carry the page's name in `Host`. Without keys, only IP addresses, `localhost`, names below
//! it and the configured names are valid hosts. `localhost` belongs to no one (RFC 6761). Names such as `host.docker.internal` and
//! `my-mac.local` have to be configured: other machines of a network can answer for them. The same names are valid for sessions.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use ipc_proto::gateway::AllowedHosts;

use crate::access::Keys;
use crate::protocols::error::unroutable;

/// The settings that decide under which names the server answers.
#[derive(Debug)]
pub struct HostPolicy {
    /// The keys that open the API.
    pub keys: Arc<Keys>,
    /// The configured names.
    pub allowed: AllowedHosts,
}

impl HostPolicy {
    /// The name in a `Host`, if it is not this machine's own.
    pub fn foreign_name<'a>(&self, host: &'a str) -> Option<&'a str> {
        (!is_local(host, &self.allowed)).then(|| name(host))
    }
}

/// Rejects requests to a name that is not this machine's own.
pub async fn check(State(policy): State<Arc<HostPolicy>>, request: Request, next: Next) -> Response {
    let authority = request.uri().authority().map(|authority| authority.as_str());
    let host = authority.or_else(|| request.headers().get(header::HOST)?.to_str().ok());
    // HTTP/1.0 has no Host. Browsers always send one.
    let checked = host.filter(|_| !policy.keys.are_needed());
    let Some(name) = checked.and_then(|host| policy.foreign_name(host)) else {
        return next.run(request).await;
    };
    let text = format!(
        "requests to \"{name}\" are not answered without API keys: list the name in allowed_hosts (MLXD_ALLOWED_HOSTS), \
         or configure api_keys (MLXD_API_KEYS)"
    );
    unroutable(StatusCode::FORBIDDEN, text)
}

fn is_local(host: &str, allowed: &AllowedHosts) -> bool {
    if let Some((address, _)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let name = name(host);
    let last = name.rsplit_once('.').map_or(name, |(_, last)| last);
    last.eq_ignore_ascii_case("localhost") || name.parse::<Ipv4Addr>().is_ok() || allowed.includes(name)
}

/// The host without its port.
fn name(host: &str) -> &str {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name.strip_suffix('.').unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

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
            "chat.localhost:3000",
            "a.b.LocalHost.",
        ] {
            assert!(is_local(host, &AllowedHosts::default()), "{host}");
        }
        for host in [
            "evil.test",
            "evil.test:10240",
            "localhost.evil.test",
            "evillocalhost",
            "127.0.0.1.evil.test",
            "[evil]",
            "",
        ] {
            assert!(!is_local(host, &AllowedHosts::default()), "{host}");
        }
    }

    #[test]
    fn configured_name_is_local_with_any_port() {
        let allowed = AllowedHosts::try_from(vec!["host.docker.internal".to_owned()]).unwrap();
        for host in ["host.docker.internal", "Host.Docker.Internal:10240", "host.docker.internal."] {
            assert!(is_local(host, &allowed), "{host}");
        }
        for host in ["docker.internal", "host.docker.internal.evil.test", "x.host.docker.internal:1"] {
            assert!(!is_local(host, &allowed), "{host}");
        }
    }
}
