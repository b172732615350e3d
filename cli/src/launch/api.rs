//! The server's HTTP API, as far as this command uses it.

use serde_json::Value;

use super::LaunchError;

/// A client of one server.
pub(super) struct Api {
    agent: ureq::Agent,
    /// Without `/v1`.
    pub(super) url: String,
}

impl Api {
    pub(super) fn new(url: String) -> Self {
        // A proxy must not be asked for this address.
        let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None);
        Self { agent: config.build().into(), url }
    }

    /// Whether the server answers with this key, or without one.
    pub(super) fn is_open(&self, key: Option<&str>) -> Result<bool, LaunchError> {
        match self.get("/v1/models", key)? {
            (401 | 403, _) => Ok(false),
            (200, _) => Ok(true),
            (status, body) => Err(refusal(status, &body)),
        }
    }

    /// The body of a good answer.
    pub(super) fn fetch(&self, path: &str, key: Option<&str>) -> Result<String, LaunchError> {
        match self.get(path, key)? {
            (200, body) => Ok(body),
            (status, body) => Err(refusal(status, &body)),
        }
    }

    fn get(&self, path: &str, key: Option<&str>) -> Result<(u16, String), LaunchError> {
        let unreachable = |error: ureq::Error| LaunchError::Unreachable(error.to_string());
        let mut get = self.agent.get(format!("{}{path}", self.url));
        if let Some(key) = key {
            get = get.header("authorization", format!("Bearer {key}"));
        }
        let mut response = get.call().map_err(unreachable)?;
        let body = response.body_mut().read_to_string().map_err(unreachable)?;
        Ok((response.status().as_u16(), body))
    }
}

fn refusal(status: u16, body: &str) -> LaunchError {
    let value: Value = serde_json::from_str(body).unwrap_or_default();
    let text = value.pointer("/error/message").and_then(Value::as_str);
    let text = text.map_or_else(|| format!("the server answers {status}"), str::to_owned);
    if status == 404 { LaunchError::Missing(text) } else { LaunchError::Refused(text) }
}
