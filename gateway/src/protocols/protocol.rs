//! Detects the protocol of a request.

use axum::http::{HeaderMap, HeaderName};

/// Anthropic's clients send this header with every request.
const VERSION: HeaderName = HeaderName::from_static("anthropic-version");

/// Paths of OpenAI's API that may lack `/v1`.
const OPENAI_PATHS: [&str; 5] = ["/chat", "/completions", "/embeddings", "/rerank", "/decisions"];

/// The protocol of a request, which determines the form of errors and model lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// OpenAI's chat completions and completions; the default.
    OpenAi,
    /// OpenAI's Responses, with different field names in errors.
    Responses,
    /// Anthropic's Messages.
    Anthropic,
    /// Ollama's API.
    Ollama,
    /// The admin API of this server, and the endpoints of its web UI.
    Admin,
}

impl Protocol {
    /// Detects the protocol by the path if it belongs to one protocol, otherwise by the `anthropic-version` header. Paths of the
    /// API may lack `/v1`.
    pub fn detect(path: &str, headers: &HeaderMap) -> Self {
        if is_under(path, "/admin") || is_under(path, "/ui") {
            return Self::Admin;
        }
        // LM Studio's API has errors of OpenAI's form.
        if is_under(path, "/api") && !is_under(path, "/api/v0") {
            return Self::Ollama;
        }
        let (endpoint, versioned) = match path.strip_prefix("/v1").filter(|rest| rest.starts_with('/')) {
            Some(endpoint) => (endpoint, true),
            None => (path, false),
        };
        if is_under(endpoint, "/responses") {
            return Self::Responses;
        }
        let is_openai = versioned || OPENAI_PATHS.iter().any(|prefix| is_under(endpoint, prefix));
        let is_shared = is_under(endpoint, "/models") || !is_openai;
        if is_under(endpoint, "/messages") || (headers.contains_key(VERSION) && is_shared) {
            Self::Anthropic
        } else {
            Self::OpenAi
        }
    }
}

fn is_under(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
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
        assert_eq!(Protocol::detect("/ui/v1/chats", &headers), Protocol::Admin);
        assert_eq!(Protocol::detect("/api/tags", &headers), Protocol::Ollama);
        assert_eq!(Protocol::detect("/api/v0/models", &HeaderMap::new()), Protocol::OpenAi);
        assert_eq!(Protocol::detect("/apis", &HeaderMap::new()), Protocol::OpenAi);
    }

    #[test]
    fn path_without_version_has_the_same_protocol() {
        let mut headers = HeaderMap::new();
        for with_header in [false, true] {
            if with_header {
                headers.insert(VERSION, HeaderValue::from_static("2023-06-01"));
            }
            for path in ["/messages", "/responses/a/cancel", "/chat/completions", "/models/a", "/embeddings"]
            {
                let versioned = Protocol::detect(&format!("/v1{path}"), &headers);
                assert_eq!(Protocol::detect(path, &headers), versioned, "{path} {with_header}");
            }
        }
    }
}
