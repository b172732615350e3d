//! API keys. Without any configured, everybody on this machine may come in.

use axum::extract::{Request, State as Extract};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ipc_proto::{Error, ErrorKind, Source};

use crate::error::ApiError;
use crate::state::State;

/// The keys that open the API; never printed.
#[derive(Default)]
pub struct Keys(Vec<String>);

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({} hidden)", self.0.len())
    }
}

impl Keys {
    /// From a comma-separated list.
    pub fn parse(list: &str) -> Self {
        Self(list.split(',').map(str::trim).filter(|key| !key.is_empty()).map(str::to_owned).collect())
    }

    /// Whether no key is needed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `key` is one of them, in time that does not tell how much of it is right.
    fn contains(&self, key: &str) -> bool {
        self.0.iter().fold(false, |found, known| found | same(known.as_bytes(), key.as_bytes()))
    }
}

fn same(known: &[u8], given: &[u8]) -> bool {
    let differing = known.iter().zip(given).fold(0, |bits, (a, b)| bits | (a ^ b));
    // black_box keeps the compiler from ending the loop early.
    std::hint::black_box(differing) == 0 && known.len() == given.len()
}

fn presented(headers: &HeaderMap) -> Option<&str> {
    let bearer =
        headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    bearer.or_else(|| headers.get("x-api-key")?.to_str().ok()).map(str::trim)
}

/// Lets requests with a key pass, or all where none is configured.
pub async fn check(Extract(state): Extract<State>, request: Request, next: Next) -> Response {
    if state.keys.is_empty() || presented(request.headers()).is_some_and(|key| state.keys.contains(key)) {
        return next.run(request).await;
    }
    let text = "a valid API key is needed: send it as \"Authorization: Bearer KEY\"";
    ApiError(Error::new(ErrorKind::Unauthorized, Source::Client, text)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_keys_count() {
        let keys = Keys::parse("sk-one, sk-two,,");
        assert!(keys.contains("sk-one") && keys.contains("sk-two"));
        for wrong in ["", "sk-", "sk-on", "sk-one ", "sk-onex", "SK-ONE"] {
            assert!(!keys.contains(wrong), "{wrong}");
        }
        assert!(Keys::parse(" , ").is_empty());
        assert!(!format!("{keys:?}").contains("sk-"));
    }
}
