//! The server's own settings in the admin API: where each comes from, and changes of `config.toml`. No secret is among them.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ipc_proto::Error;
use ipc_proto::gateway::GatewayConfig;
use ipc_proto::supervisor::{
    LiveSetting, LiveSettings, SettingEffect, SettingSource, SettingsChange, SettingsOutcome,
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::refusal::Refusal;
use crate::dispatch::Services;
use crate::protocols::common::body;

/// The settings that can be changed, and which secrets are set.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ServerSettings {
    /// Changes with the text of `config.toml`. It is the entity tag too.
    pub revision: String,
    /// Each setting once, in the order of the documentation.
    pub settings: Vec<ServerSetting>,
    /// Whether `api_keys` has a key.
    pub has_api_keys: bool,
    /// Whether `master_key` is set.
    pub has_master_key: bool,
}

/// A setting, named as in `config.toml`.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub struct ServerSetting {
    /// Its name.
    pub name: String,
    /// Its value: a text, a number, a list of texts, a truth value, or null for none.
    pub value: Value,
    /// Its default; null where there is none, or where the machine decides.
    pub default: Value,
    /// Where the value comes from. Only one of the file, or a default, can be changed.
    pub source: SettingSource,
    /// The flag or the environment variable that sets it.
    pub place: Option<String>,
    /// When a change counts.
    pub effect: SettingEffect,
    /// Whether the server still runs with another value.
    pub is_pending: bool,
}

/// Which secrets are set. They are neither shown nor changed here.
#[derive(Debug, Clone, Copy)]
pub struct Secrets {
    /// Whether `api_keys` has a key.
    pub has_api_keys: bool,
    /// Whether `master_key` is set.
    pub has_master_key: bool,
}

impl From<&GatewayConfig> for Secrets {
    fn from(config: &GatewayConfig) -> Self {
        Self { has_api_keys: !config.api_keys.is_empty(), has_master_key: config.master_key.is_some() }
    }
}

/// `GET /admin/v1/settings`. Its entity tag is the revision.
///
/// # Errors
/// The supervisor does not answer; `config.toml` has a wrong value.
pub async fn settings(
    State(services): State<Services>,
    State(secrets): State<Arc<Secrets>>,
) -> Result<Response, Refusal> {
    Ok(tagged(services.fleet.live_settings().await?, *secrets))
}

/// `PATCH /admin/v1/settings`: changes the settings that the body names, in `config.toml`; `null` takes one out of it. With `If-Match`
/// only if the file is that of this revision. Answers once the change is in force, where it needs no restart.
///
/// # Errors
/// A name that is none, or is set by a flag or a variable; a wrong value; the file has changed, or cannot be written.
pub async fn change(
    State(services): State<Services>,
    State(secrets): State<Arc<Secrets>>,
    request: Request,
) -> Result<Response, Refusal> {
    let expected = expected(request.headers());
    let values: Map<String, Value> = body::json(request).await?;
    if values.is_empty() {
        return Err(Error::invalid("body", "the body names no setting").into());
    }
    let names: Vec<String> = values.keys().cloned().collect();
    let values = values.into_iter().map(|(name, value)| (name, value.to_string())).collect();
    match services.fleet.change_live_settings(SettingsChange { expected, values }).await? {
        SettingsOutcome::Changed(settings) => {
            tracing::info!(names = names.join(", "), "settings were changed");
            Ok(tagged(settings, *secrets))
        }
        SettingsOutcome::Stale => {
            let text = "config.toml has changed since its settings were read";
            Err(Refusal::State(StatusCode::PRECONDITION_FAILED, text.to_owned()))
        }
    }
}

/// The revision that the client has read; `None` if any will do.
fn expected(headers: &HeaderMap) -> Option<String> {
    let tag = headers.get(header::IF_MATCH)?.to_str().unwrap_or_default().trim();
    (tag != "*").then(|| tag.trim_matches('"').to_owned())
}

fn tagged(settings: LiveSettings, secrets: Secrets) -> Response {
    let tag = HeaderValue::try_from(format!("\"{}\"", settings.revision));
    let mut response = Json(view(settings, secrets)).into_response();
    if let Ok(tag) = tag {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

fn view(LiveSettings { revision, settings }: LiveSettings, secrets: Secrets) -> ServerSettings {
    let one = |setting: LiveSetting| {
        let LiveSetting { name, value, default, source, place, effect, is_pending } = setting;
        // The supervisor sends JSON.
        let [value, default] = [value, default].map(|text| serde_json::from_str(&text).unwrap_or_default());
        ServerSetting { name, value, default, source, place, effect, is_pending }
    };
    let settings = settings.into_iter().map(one).collect();
    let Secrets { has_api_keys, has_master_key } = secrets;
    ServerSettings { revision, settings, has_api_keys, has_master_key }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_said_to_be_set_and_not_shown() {
        let config = serde_json::from_str(r#"{"api_keys": ["hidden-key"]}"#).unwrap();
        let settings = view(LiveSettings::default(), Secrets::from(&config));
        let expected = json!({"revision": "", "settings": [], "has_api_keys": true, "has_master_key": false});
        assert_eq!(serde_json::to_value(settings).unwrap(), expected);
    }

    #[test]
    fn entity_tag_is_the_revision_in_quotes() {
        let with = |tag: &str| HeaderMap::from_iter([(header::IF_MATCH, tag.parse().unwrap())]);
        assert_eq!(expected(&with("\"ab12\"")).as_deref(), Some("ab12"));
        assert_eq!((expected(&with("*")), expected(&HeaderMap::new())), (None, None));
    }
}
