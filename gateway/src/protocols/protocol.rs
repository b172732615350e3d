//! Detects the protocol of a request.

use axum::http::{HeaderMap, HeaderName};

/// Anthropic's clients send this header with every request.
const VERSION: HeaderName = HeaderName::from_static("anthropic-version");

/// The protocol of a request, which determines the form of errors and model lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// OpenAI's chat completions and completions; the default.
    OpenAi,
    /// OpenAI's Responses, with different field names in errors.
    Responses,
    /// Anthropic's Messages.
    Anthropic,
    /// The Ollama endpoints by which clients detect Ollama.
    Ollama,
    /// The admin API of this server.
    Admin,
}

impl Protocol {
    /// Detects the protocol by the path if it belongs to one protocol, otherwise by the `anthropic-version` header.
    pub fn detect(path: &str, headers: &HeaderMap) -> Self {
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
    fn path_of_one_protocol_overrides_the_header() {
        let mut headers = HeaderMap::new();
        for path in ["/v1/messages", "/v1/messages/count_tokens"] {
            assert_eq!(Protocol::detect(path, &headers), Protocol::Anthropic, "{path}");
        }
        for path in ["/v1/models", "/v1/messagesx", "/v1/chat/completions", "/"] {
            assert_eq!(Protocol::detect(path, &headers), Protocol::OpenAi, "{path}");
        }
        headers.insert(VERSION, HeaderValue::from_static("2023-06-01"));
        for path in ["/v1/models", "/v1/models/a/b", "/"] {
            assert_eq!(Protocol::detect(path, &headers), Protocol::Anthropic, "{path}");
        }
        assert_eq!(Protocol::detect("/v1/chat/completions", &headers), Protocol::OpenAi);
        assert_eq!(Protocol::detect("/admin/v1/pool", &headers), Protocol::Admin);
        assert_eq!(Protocol::detect("/api/tags", &headers), Protocol::Ollama);
        assert_eq!(Protocol::detect("/apis", &HeaderMap::new()), Protocol::OpenAi);
    }
}
