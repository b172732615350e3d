//! What names a request's sender, purpose or conversation: bounded, recorded, and of no effect on the answer.

use std::collections::BTreeMap;

use axum::http::HeaderMap;
use ipc_proto::{Error, Result};
use serde_json::{Map, Value};

use crate::inference::labels::Labels;

const MAX_LABEL_BYTES: usize = 1024;
const MAX_METADATA: usize = 16;
/// Where clients say who is behind a request: Anthropic's SDKs, and Open WebUI, when they are told to.
const USERS: [&str; 3] = ["anthropic-user-profile-id", "x-openwebui-user-id", "x-openwebui-user-email"];
/// Where they name the conversation: Claude Code, and Open WebUI.
const SESSIONS: [&str; 2] = ["x-claude-code-session-id", "x-openwebui-chat-id"];

/// What a request's headers say; what is too long says nothing.
pub fn of_headers(headers: &HeaderMap) -> Labels {
    let first = |names: &[&str]| {
        let texts = names.iter().filter_map(|name| headers.get(*name)?.to_str().ok());
        let mut usable = texts.filter(|text| !text.is_empty() && text.len() <= MAX_LABEL_BYTES);
        usable.next().map(str::to_owned)
    };
    Labels { user: first(&USERS), session: first(&SESSIONS), notes: None }
}

/// The first of `texts` that is there; each with its field's name.
pub fn first(texts: &[(&str, &Option<String>)]) -> Result<Option<String>> {
    for (name, text) in texts {
        if text.as_ref().is_some_and(|text| text.len() > MAX_LABEL_BYTES) {
            return Err(Error::invalid(*name, format!("{name} must have at most {MAX_LABEL_BYTES} bytes")));
        }
    }
    Ok(texts.iter().find_map(|(_, text)| text.as_ref().filter(|text| !text.is_empty()).cloned()))
}

/// What a body says, in OpenAI's fields.
pub fn of_body(
    user: &Option<String>,
    safety_identifier: &Option<String>,
    metadata: Option<&BTreeMap<String, String>>,
) -> Result<Labels> {
    let user = first(&[("user", user), ("safety_identifier", safety_identifier)])?;
    Ok(Labels { user, notes: notes(metadata)?, session: None })
}

/// `metadata` as it is recorded.
fn notes(metadata: Option<&BTreeMap<String, String>>) -> Result<Option<String>> {
    let Some(metadata) = metadata.filter(|metadata| !metadata.is_empty()) else { return Ok(None) };
    let long = |text: &String| text.len() > MAX_LABEL_BYTES;
    if metadata.len() > MAX_METADATA || metadata.iter().any(|(key, value)| long(key) || long(value)) {
        let text = format!("metadata: at most {MAX_METADATA} texts of {MAX_LABEL_BYTES} bytes");
        return Err(Error::invalid("metadata", text));
    }
    let notes: Map<String, Value> =
        metadata.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
    Ok(Some(Value::Object(notes).to_string()))
}
