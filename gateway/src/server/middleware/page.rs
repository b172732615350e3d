//! Decides whether a request comes from a page of this server itself. Browsers send cookies on their own, so a session is honoured,
//! and a password taken, only then.
//!
//! Browsers say in `Sec-Fetch-Site` whether a page is of the same origin, and no page can write that header. Over plain HTTP they
//! leave it out for other machines' addresses: there `Origin` has to be this server's. A `GET` may have neither, so a session also
//! needs the header `x-mlxd-page`, which a page of another origin can send only after the server agreed to it. `SameSite=Strict`
//! alone is not enough: all ports of a host are one site.
//!
//! The name in `Host` has to be an address, `localhost` or a configured one: a page whose name was made to resolve to this machine
//! is of the same origin, as browsers see it (DNS rebinding).

use axum::http::{HeaderMap, header};
use ipc_proto::{Error, ErrorKind, Origin, Result};

use crate::server::middleware::host::HostPolicy;

/// The header of the web UI's requests.
pub const PAGE: &str = "x-mlxd-page";

/// Checks that a request does not come from a page of another origin, and that it names this server rightly.
///
/// # Errors
/// It does; or the name is none of this server's.
pub fn check(headers: &HeaderMap, authority: Option<&str>, hosts: &HostPolicy) -> Result<()> {
    let refuse = |text| Err(Error::new(ErrorKind::PermissionDenied, Origin::Client, text));
    let host = authority.or_else(|| headers.get(header::HOST)?.to_str().ok());
    if let Some(name) = host.and_then(|host| hosts.foreign_name(host)) {
        let text = format!(
            "nobody signs in at the name \"{name}\": use this server's address, or list the name in allowed_hosts (MLXD_ALLOWED_HOSTS)"
        );
        return refuse(text);
    }
    if is_foreign(headers, host.unwrap_or_default()) {
        let text = "only this server's own pages may sign in and use a session; if a proxy is in front, it has to pass on Host";
        return refuse(text.to_owned());
    }
    Ok(())
}

/// Whether a request may use the session of its cookie: it has the header of the web UI.
pub fn has_mark(headers: &HeaderMap) -> bool {
    headers.contains_key(PAGE)
}

fn is_foreign(headers: &HeaderMap, host: &str) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site != "same-origin" && site != "none";
    }
    // A program sends neither header.
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    !super::origin::is_same_origin(origin.to_str().unwrap_or_default(), host)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::http::{HeaderName, HeaderValue};
    use ipc_proto::gateway::AllowedHosts;

    use super::*;

    fn refusal(pairs: &[(&'static str, &'static str)]) -> Option<String> {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let headers: HeaderMap = pairs.iter().map(pair).collect();
        let allowed = AllowedHosts::try_from(vec!["chat.example".to_owned()]).unwrap();
        let hosts = HostPolicy { keys: Arc::default(), allowed };
        check(&headers, None, &hosts).err().map(|error| error.message)
    }

    #[test]
    fn own_page_and_programs_pass() {
        for pairs in [
            &[("host", "localhost:10240")][..],
            &[("host", "192.168.0.7:10240"), ("origin", "http://192.168.0.7:10240")],
            &[
                ("host", "localhost:10240"),
                ("origin", "http://localhost:10240"),
                ("sec-fetch-site", "same-origin"),
            ],
            &[
                ("host", "chat.example"),
                ("origin", "https://chat.example"),
                ("sec-fetch-site", "same-origin"),
            ],
            // A proxy that puts its own address into Host. The browser vouches for the page.
            &[
                ("host", "127.0.0.1:10240"),
                ("origin", "https://chat.example"),
                ("sec-fetch-site", "same-origin"),
            ],
        ] {
            assert_eq!(refusal(pairs), None, "{pairs:?}");
        }
    }

    #[test]
    fn pages_of_other_origins_are_refused() {
        for pairs in [
            &[("host", "localhost:10240"), ("origin", "http://localhost:3000")][..],
            &[("host", "localhost:10240"), ("origin", "null")],
            &[("host", "localhost:10240"), ("sec-fetch-site", "same-site")],
            &[("host", "localhost:10240"), ("sec-fetch-site", "cross-site")],
            &[
                ("host", "localhost:10240"),
                ("origin", "http://localhost:10240"),
                ("sec-fetch-site", "cross-site"),
            ],
            &[("host", "192.168.0.7:10240"), ("origin", "http://192.168.0.7:3000")],
        ] {
            assert!(refusal(pairs).is_some_and(|text| text.contains("own pages")), "{pairs:?}");
        }
    }

    #[test]
    fn name_that_may_be_anybodys_is_refused() {
        let pairs = [
            ("host", "evil.test:10240"),
            ("origin", "http://evil.test:10240"),
            ("sec-fetch-site", "same-origin"),
        ];
        assert!(
            refusal(&pairs).is_some_and(|text| text.contains("evil.test") && text.contains("allowed_hosts"))
        );
    }
}
