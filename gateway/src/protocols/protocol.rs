//! Detects the protocol that a client speaks.

use axum::http::{HeaderMap, HeaderName};

/// Anthropic's clients send this header with every request.
const VERSION: HeaderName = HeaderName::from_static("anthropic-version");

/// A client's protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// OpenAI's; the default.
    OpenAi,
    /// OpenAI's Responses, whose fields have other names.
    Responses,
    /// Anthropic's.
    Anthropic,
    /// Ollama's, of the few endpoints that its clients look for.
    Ollama,
    /// Our own, of the admin API.
    Admin,
}

impl Protocol {
    /// By the path where it belongs to one of them, else by the header.
    pub fn of(path: &str, headers: &HeaderMap) -> Self {
        let under = |prefix: &str| {
            path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let shared = || under("/v1/models") || !path.starts_with("/v1/");
        if under("/admin") {
            return Self::Admin;
        }
        if under("/api") {
            return Self::Ollama;
        }
        if under("/v1/responses") {
            return Self::Responses;
        }
        if under("/v1/messages") || (headers.contains_key(VERSION) && shared()) {
            Self::Anthropic
        } else {
            Self::OpenAi
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn paths_come_before_the_header() {
        let mut headers = HeaderMap::new();
        for path in ["/v1/messages", "/v1/messages/count_tokens"] {
            assert_eq!(Protocol::of(path, &headers), Protocol::Anthropic, "{path}");
        }
        for path in ["/v1/models", "/v1/messagesx", "/v1/chat/completions", "/"] {
            assert_eq!(Protocol::of(path, &headers), Protocol::OpenAi, "{path}");
        }
        headers.insert(VERSION, HeaderValue::from_static("2023-06-01"));
        for path in ["/v1/models", "/v1/models/a/b", "/"] {
            assert_eq!(Protocol::of(path, &headers), Protocol::Anthropic, "{path}");
        }
        assert_eq!(Protocol::of("/v1/chat/completions", &headers), Protocol::OpenAi);
        assert_eq!(Protocol::of("/admin/v1/pool", &headers), Protocol::Admin);
        assert_eq!(Protocol::of("/api/tags", &headers), Protocol::Ollama);
        assert_eq!(Protocol::of("/apis", &HeaderMap::new()), Protocol::OpenAi);
    }
}
