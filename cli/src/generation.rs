//! The server's API for generated text, as far as commands use it.

use std::io::{BufRead, BufReader};

use serde_json::Value;
use ureq::RequestBuilder;

/// Beside the API's own data.
const END: &str = "[DONE]";

/// A client of one server.
pub(crate) struct Api {
    agent: ureq::Agent,
    address: String,
    key: Option<String>,
}

/// A reason why there is no answer, or not all of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("{0}")]
    Refused(String),
    #[error("the server asks for a key: make one with `mlxd key add NAME`, and set MLXD_API_KEY to it")]
    Key,
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
}

impl Api {
    pub(crate) fn new(address: &str, key: Option<String>) -> Self {
        // Loading a model takes as long as it takes. A proxy must not be asked for this address.
        let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None);
        Self { agent: config.build().into(), address: address.to_owned(), key }
    }

    /// The whole answer in JSON.
    pub(crate) fn whole(&self, path: &str, request: &Value) -> Result<String, ApiError> {
        let mut response = self.send(path, request)?;
        response.body_mut().read_to_string().map_err(|error| ApiError::Unreachable(error.to_string()))
    }

    /// Streams the events of an answer until its end, or until `stopped` says so between two lines.
    pub(crate) fn events<E: From<ApiError>>(
        &self,
        path: &str,
        request: &Value,
        stopped: &dyn Fn() -> bool,
        mut each: impl FnMut(&Value) -> Result<(), E>,
    ) -> Result<(), E> {
        let response = self.send(path, request)?;
        for line in BufReader::new(response.into_body().into_reader()).lines() {
            if stopped() {
                return Ok(());
            }
            let line = line.map_err(|error| ApiError::Unreachable(error.to_string()))?;
            let Some(data) = line.strip_prefix("data: ").filter(|data| *data != END) else { continue };
            each(&event(data)?)?;
        }
        Ok(())
    }

    fn send(&self, path: &str, request: &Value) -> Result<Response, ApiError> {
        let post = self.agent.post(format!("{}{path}", self.address));
        accepted(self.with_key(post).header("content-type", "application/json").send(request.to_string()))
    }

    fn with_key<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match &self.key {
            Some(key) => request.header("authorization", format!("Bearer {key}")),
            None => request,
        }
    }

    /// The lines of an endless stream of events, after the one of the id `last`.
    pub(crate) fn follow(&self, path: &str, last: Option<&str>) -> Result<impl BufRead + use<>, ApiError> {
        let mut get = self.with_key(self.agent.get(format!("{}{path}", self.address)));
        if let Some(last) = last {
            get = get.header("last-event-id", last);
        }
        Ok(BufReader::new(accepted(get.call())?.into_body().into_reader()))
    }
}

type Response = ureq::http::Response<ureq::Body>;

/// The response, if it is a success.
fn accepted(sent: Result<Response, ureq::Error>) -> Result<Response, ApiError> {
    let mut response = sent.map_err(|error| ApiError::Unreachable(error.to_string()))?;
    match response.status().as_u16() {
        200..=299 => Ok(response),
        401 => Err(ApiError::Key),
        status => {
            let body = response.body_mut().read_to_string().unwrap_or_default();
            let text = message(&serde_json::from_str(&body).unwrap_or_default());
            Err(ApiError::Refused(text.unwrap_or_else(|| format!("the server answers {status}"))))
        }
    }
}

/// The data of an event that is no error.
fn event(data: &str) -> Result<Value, ApiError> {
    let value: Value = serde_json::from_str(data).unwrap_or_default();
    match message(&value) {
        Some(problem) => Err(ApiError::Refused(problem)),
        None => Ok(value),
    }
}

/// The sentence of an error, in the form of OpenAI's API or of the admin API.
fn message(value: &Value) -> Option<String> {
    let found = value.pointer("/error/message").or_else(|| value.pointer("/detail"));
    found.and_then(Value::as_str).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_is_data_or_an_error() {
        assert_eq!(event(r#"{"id":"x"}"#).unwrap()["id"], "x");
        let error = event(r#"{"error":{"message":"no memory"}}"#).unwrap_err();
        assert_eq!(error.to_string(), "no memory");
    }
}
