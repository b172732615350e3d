//! API keys. Without any configured, everybody on this machine may come in.
//!
//! Who asks with one key shares no cached text with who asks with another: how soon an answer begins would tell what the
//! other asked.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ipc_proto::{Error, ErrorKind, Origin};
use sha2::{Digest, Sha256};

use crate::error::ApiError;
use crate::state::AppState;

/// The keys that open the API; never printed.
#[derive(Default)]
pub struct Keys(Vec<(String, Tenant)>);

/// Who asks, as an extension: a name that follows from the key but does not tell it; none where no key is needed.
#[derive(Debug, Clone, Default)]
pub struct Tenant(Option<Arc<str>>);

impl Tenant {
    fn of(key: &str) -> Self {
        let digest = Sha256::digest(format!("mlxd tenant {key}"));
        let name: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        Self(Some(name.into()))
    }

    /// The name; empty where no key is needed.
    pub fn name(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    /// The scope of cached text for what this one asks with `salt`.
    pub fn scope(&self, salt: &str) -> String {
        match &self.0 {
            // All names are of one length, so no salt makes one tenant's scope another's.
            Some(name) => format!("{name}:{salt}"),
            None => salt.to_owned(),
        }
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({} hidden)", self.0.len())
    }
}

impl Keys {
    /// From a comma-separated list.
    pub fn parse(list: &str) -> Self {
        let keys = list.split(',').map(str::trim).filter(|key| !key.is_empty());
        Self(keys.map(|key| (key.to_owned(), Tenant::of(key))).collect())
    }

    /// Whether no key is needed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whose `key` is, in time that does not tell how much of it is right.
    fn tenant(&self, key: &str) -> Option<&Tenant> {
        self.0.iter().fold(None, |found, (known, tenant)| {
            let same = same(known.as_bytes(), key.as_bytes());
            if same { Some(tenant) } else { found }
        })
    }
}

fn same(known: &[u8], given: &[u8]) -> bool {
    let differing = known.iter().zip(given).fold(0, |bits, (a, b)| bits | (a ^ b));
    // black_box keeps the compiler from ending the loop early.
    std::hint::black_box(differing) == 0 && known.len() == given.len()
}

/// Every key that a request carries: a wrong one does not hide a right one.
fn presented(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let bearers = headers.get_all(header::AUTHORIZATION).iter().filter_map(|value| {
        let (scheme, key) = value.to_str().ok()?.trim_start().split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(key)
    });
    let own = headers.get_all("x-api-key").iter().filter_map(|value| value.to_str().ok());
    bearers.chain(own).map(str::trim)
}

/// Lets requests with a key pass, or all where none is configured.
pub async fn check(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let tenant = match state.keys.is_empty() {
        true => Some(Tenant::default()),
        false => presented(request.headers()).find_map(|key| state.keys.tenant(key)).cloned(),
    };
    if let Some(tenant) = tenant {
        request.extensions_mut().insert(tenant);
        return next.run(request).await;
    }
    let text = "a valid API key is needed: send it as \"Authorization: Bearer KEY\"";
    ApiError(Error::new(ErrorKind::Unauthorized, Origin::Client, text)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_keys_count() {
        let keys = Keys::parse("sk-one, sk-two,,");
        assert!(keys.tenant("sk-one").is_some() && keys.tenant("sk-two").is_some());
        for wrong in ["", "sk-", "sk-on", "sk-one ", "sk-onex", "SK-ONE"] {
            assert!(keys.tenant(wrong).is_none(), "{wrong}");
        }
        assert!(Keys::parse(" , ").is_empty());
        assert!(!format!("{keys:?}").contains("sk-"));
    }

    #[test]
    fn scopes_differ_by_key_and_salt_and_tell_no_key() {
        let keys = Keys::parse("sk-one,sk-two");
        let scope = |key: &str, salt: &str| keys.tenant(key).unwrap().scope(salt);
        assert_eq!(scope("sk-one", "a"), scope("sk-one", "a"));
        assert_ne!(scope("sk-one", "a"), scope("sk-two", "a"));
        assert_ne!(scope("sk-one", "a"), scope("sk-one", ""));
        assert!(!scope("sk-one", "").contains("one"));
        // Neither does a salt that is made for it make one the other.
        assert_ne!(scope("sk-two", &scope("sk-one", "")), scope("sk-one", ""));
        assert_eq!((Tenant::default().scope("a").as_str(), Tenant::default().scope("").as_str()), ("a", ""));
        assert_eq!(Keys::parse("sk-two,sk-one").tenant("sk-one").unwrap().scope(""), scope("sk-one", ""));
    }
}
