//! Passes a request on as it came, and the answer as it comes, where client and provider speak the same protocol. Only the name of
//! the model, the key and the framing of the stream change.

use std::sync::Arc;

use futures::StreamExt;
use hyper::HeaderMap;
use hyper::body::Bytes;
use ipc_proto::Result;
use ipc_proto::generate::{FinishReason, Usage};
use sse_stream::{Sse, SseStream};
use tokio::sync::mpsc::Sender;

use super::client::Client;
use super::relay::{DONE, Relay};
use super::spans;
use super::translator::{Translator, broken};
use crate::inference::original::WireProtocol;

/// The field that makes a chat completion stream end with the token counts.
const ASK_USAGE: &[u8] = br#""stream_options":{"include_usage":true},"#;
/// The beginnings of the names of headers about a provider's limits.
const LIMITS: [&str; 2] = ["x-ratelimit-", "anthropic-ratelimit-"];

/// The body of a client's request for the provider's model `model`. `None` if it is no request.
pub(super) fn request(body: &[u8], model: &str, asks_usage: bool) -> Option<Vec<u8>> {
    let mut body = spans::replace(body, &["model"], model)?;
    if asks_usage {
        let start = body.iter().position(|byte| *byte == b'{')? + 1;
        body.splice(start..start, ASK_USAGE.iter().copied());
    }
    Some(body)
}

/// Whether a streamed request needs `stream_options`, so that its tokens can be counted.
pub(super) fn lacks_usage(body: &[u8]) -> bool {
    spans::find(body, &["stream_options"]).is_none()
}

/// The headers of a provider's answer that are for the client.
pub(super) fn headers(all: &HeaderMap) -> HeaderMap {
    let is_limit = |name: &str| LIMITS.iter().any(|beginning| name.starts_with(beginning));
    let limits = all.iter().filter(|(name, _)| is_limit(name.as_str()));
    limits.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// An answer on its way to the client.
pub(super) struct Passage {
    pub client: Arc<Client>,
    pub protocol: WireProtocol,
    /// The name of the model in the answer.
    pub model: String,
    /// Whether the client does not expect the chunk with the token counts.
    pub hides_usage: bool,
    /// The way to the client.
    pub pieces: Sender<Result<Bytes>>,
    /// The way of the neutral events, by which the answer is recorded.
    pub relay: Relay,
}

/// The end of an answer, as far as the neutral events say.
enum End {
    /// All is well so far.
    Open,
    /// The provider has reported an error, which the client has seen.
    Failed(ipc_proto::Error),
    /// An event had an unknown form. The client has seen it.
    Unknown,
}

impl Passage {
    /// Passes a stream on, event by event.
    pub(super) async fn stream(mut self, response: reqwest::Response, translator: &mut dyn Translator) {
        if let Err(error) = self.carry(response, translator).await {
            // First, so that the breaker knows it before the client does.
            self.relay.fail(&error).await;
            let _ = self.pieces.send(Err(error)).await;
        }
    }

    async fn carry(&mut self, response: reqwest::Response, translator: &mut dyn Translator) -> Result<()> {
        let mut stream = SseStream::from_bytes_stream(response.bytes_stream());
        let mut end = End::Open;
        while let Some(event) = stream.next().await {
            let event = match event {
                Ok(event) => event,
                Err(sse_stream::Error::Body(error)) => return Err(self.client.lost(error.as_ref())),
                Err(error) => return Err(broken(&format!("sent a broken event stream: {error}"))),
            };
            let data = event.data.as_deref().unwrap_or_default();
            let piece =
                if self.hides_usage && is_usage_only(data) { Bytes::new() } else { self.frame(&event) };
            if !piece.is_empty() && self.pieces.send(Ok(piece)).await.is_err() {
                return Ok(());
            }
            if data == DONE {
                break;
            }
            if matches!(end, End::Open) && !data.is_empty() {
                end = match translator.event(data) {
                    Ok(events) => {
                        self.relay.send_all(events).await;
                        End::Open
                    }
                    Err(error) if is_error(data) => End::Failed(error),
                    Err(_) => End::Unknown,
                };
            }
        }
        match end {
            End::Open => {
                self.relay.send_all(translator.end()?).await;
                self.relay.succeed();
            }
            End::Failed(error) => self.relay.fail(&error).await,
            End::Unknown => self.relay.finish(FinishReason::Stop, Usage::default()).await,
        }
        Ok(())
    }

    /// One event, with the name of the model that the client knows.
    fn frame(&self, event: &Sse) -> Bytes {
        let mut frame = Vec::new();
        if let Some(name) = &event.event {
            frame.extend_from_slice(format!("event: {name}\n").as_bytes());
        }
        if let Some(data) = &event.data {
            let path: &[&str] = match self.protocol {
                WireProtocol::Chat => &["model"],
                WireProtocol::Responses => &["response", "model"],
                WireProtocol::Messages => &["message", "model"],
            };
            let renamed = spans::replace(data.as_bytes(), path, &self.model);
            for line in renamed.as_deref().unwrap_or(data.as_bytes()).split(|byte| *byte == b'\n') {
                frame.extend_from_slice(b"data: ");
                frame.extend_from_slice(line);
                frame.push(b'\n');
            }
        }
        if !frame.is_empty() {
            frame.push(b'\n');
        }
        frame.into()
    }

    /// Passes a whole answer on. `usage` reads its token counts.
    pub(super) async fn whole(mut self, response: reqwest::Response, usage: fn(&serde_json::Value) -> Usage) {
        match response.bytes().await {
            Ok(body) => {
                let renamed = spans::replace(&body, &["model"], &self.model).map(Bytes::from);
                let counts = serde_json::from_slice(&body).map(|body| usage(&body)).unwrap_or_default();
                let _ = self.pieces.send(Ok(renamed.unwrap_or(body))).await;
                self.relay.finish(FinishReason::Stop, counts).await;
            }
            Err(error) => {
                let error = self.client.lost(&error);
                self.relay.fail(&error).await;
                let _ = self.pieces.send(Err(error)).await;
            }
        }
    }
}

/// Whether an event reports an error.
fn is_error(data: &str) -> bool {
    let value = |name: &str| spans::find(data.as_bytes(), &[name]).map(|place| &data[place]);
    let is_failure = |kind: &str| matches!(kind, "\"error\"" | "\"response.failed\"");
    value("error").is_some_and(|error| error != "null") || value("type").is_some_and(is_failure)
}

/// Whether a chunk of chat completions has nothing but the token counts.
fn is_usage_only(data: &str) -> bool {
    let value = |name: &str| spans::find(data.as_bytes(), &[name]).map(|place| &data[place]);
    value("choices").is_some_and(|choices| choices.trim_start_matches('[').trim() == "]")
        && value("usage").is_some_and(|usage| usage != "null")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_changes_in_its_model_only() {
        let body = br#"{"model":"far/m", "odd": {"model": 1.0}, "stream":true}"#;
        let written = request(body, "m", false).unwrap();
        assert_eq!(written, br#"{"model":"m", "odd": {"model": 1.0}, "stream":true}"#);
        let counted = request(body, "m", true).unwrap();
        let counted: serde_json::Value = serde_json::from_slice(&counted).unwrap();
        assert_eq!(counted["stream_options"]["include_usage"], true);
        assert_eq!(request(b"{}", "m", false), None);
    }

    #[test]
    fn chunk_of_counts_is_recognised() {
        assert!(is_usage_only(r#"{"choices": [ ], "usage": {"prompt_tokens": 1}}"#));
        for other in [
            r#"{"choices": [{"index": 0}], "usage": {"prompt_tokens": 1}}"#,
            r#"{"choices": [], "usage": null}"#,
            r#"{"choices": [], "prompt_filter_results": []}"#,
            "[DONE]",
        ] {
            assert!(!is_usage_only(other), "{other}");
        }
    }

    #[test]
    fn only_limits_are_passed_back() {
        let mut all = HeaderMap::new();
        for name in
            ["x-ratelimit-remaining-tokens", "set-cookie", "server", "anthropic-ratelimit-tokens-limit"]
        {
            all.insert(name, "1".parse().unwrap());
        }
        let kept = headers(&all);
        let mut names: Vec<_> = kept.keys().map(|name| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["anthropic-ratelimit-tokens-limit", "x-ratelimit-remaining-tokens"]);
    }
}
