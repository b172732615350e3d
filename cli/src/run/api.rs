//! The server's chat API, as far as this command uses it.

use std::io::{BufRead, BufReader};

use serde_json::Value;

use super::RunError;

const PATH: &str = "/v1/chat/completions";
/// Beside the API's own data.
const END: &str = "[DONE]";

/// A client of one server.
pub(super) struct Api {
    agent: ureq::Agent,
    url: String,
    key: Option<String>,
}

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Reasoning(String),
}

impl Api {
    pub(super) fn new(address: &str, key: Option<String>) -> Self {
        // Loading a model takes as long as it takes. A proxy must not be asked for this address.
        let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None);
        Self { agent: config.build().into(), url: format!("{address}{PATH}"), key }
    }

    /// The whole answer in JSON.
    pub(super) fn whole(&self, request: &Value) -> Result<String, RunError> {
        let mut response = self.send(request)?;
        response.body_mut().read_to_string().map_err(|error| RunError::Unreachable(error.to_string()))
    }

    /// Streams an answer until its end, or until `stopped` says so between two pieces.
    pub(super) fn stream(
        &self,
        request: &Value,
        stopped: &dyn Fn() -> bool,
        mut each: impl FnMut(Piece) -> std::io::Result<()>,
    ) -> Result<(), RunError> {
        let response = self.send(request)?;
        for line in BufReader::new(response.into_body().into_reader()).lines() {
            if stopped() {
                return Ok(());
            }
            let line = line.map_err(|error| RunError::Unreachable(error.to_string()))?;
            let Some(data) = line.strip_prefix("data: ").filter(|data| *data != END) else { continue };
            for piece in pieces(data)? {
                each(piece)?;
            }
        }
        Ok(())
    }

    fn send(&self, request: &Value) -> Result<ureq::http::Response<ureq::Body>, RunError> {
        let mut post = self.agent.post(&self.url).header("content-type", "application/json");
        if let Some(key) = &self.key {
            post = post.header("authorization", format!("Bearer {key}"));
        }
        let sent = post.send(request.to_string());
        let mut response = sent.map_err(|error| RunError::Unreachable(error.to_string()))?;
        match response.status().as_u16() {
            200..=299 => Ok(response),
            401 => Err(RunError::Key),
            status => {
                let body = response.body_mut().read_to_string().unwrap_or_default();
                Err(RunError::Refused(
                    message(&body).unwrap_or_else(|| format!("the server answers {status}")),
                ))
            }
        }
    }
}

/// The pieces in the data of one event.
fn pieces(data: &str) -> Result<Vec<Piece>, RunError> {
    if let Some(problem) = message(data) {
        return Err(RunError::Refused(problem));
    }
    let value: Value = serde_json::from_str(data).unwrap_or_default();
    let text = |name: &str| value.pointer(&format!("/choices/0/delta/{name}")).and_then(Value::as_str);
    let known = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
    let reasoning = known(text("reasoning_content")).map(Piece::Reasoning);
    Ok(reasoning.into_iter().chain(known(text("content")).map(Piece::Text)).collect())
}

/// The sentence of an error.
fn message(body: &str) -> Option<String> {
    let value: Value = serde_json::from_str(body).ok()?;
    value.pointer("/error/message").and_then(Value::as_str).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_has_reasoning_and_text_or_an_error() {
        let data = r#"{"choices":[{"delta":{"content":"a","reasoning_content":"b"}}]}"#;
        assert_eq!(pieces(data).unwrap(), [Piece::Reasoning("b".into()), Piece::Text("a".into())]);
        assert_eq!(pieces(r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#).unwrap(), []);
        assert_eq!(pieces(r#"{"choices":[]}"#).unwrap(), []);
        let error = pieces(r#"{"error":{"message":"no memory"}}"#).unwrap_err();
        assert_eq!(error.to_string(), "no memory");
    }
}
