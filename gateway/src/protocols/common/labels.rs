//! Parses the labels of a request: its sender, purpose and conversation. They are bounded and
//! recorded, and do not change the output.

use std::collections::BTreeMap;

use axum::http::HeaderMap;
use ipc_proto::{Error, Result};
use serde_json::{Map, Value};

use crate::inference::labels::Labels;

const MAX_LABEL_BYTES: usize = 1024;
const MAX_METADATA: usize = 16;
/// Headers that name the user, sent by Anthropic's SDKs and Open WebUI if configured.
const USER_HEADERS: [&str; 3] =
    ["anthropic-user-profile-id", "x-openwebui-user-id", "x-openwebui-user-email"];
/// Headers that name the conversation, sent by Claude Code and Open WebUI.
const SESSION_HEADERS: [&str; 2] = ["x-claude-code-session-id", "x-openwebui-chat-id"];

/// Reads the labels from a request's headers. Labels that are too long are ignored.
pub fn from_headers(headers: &HeaderMap) -> Labels {
    let first = |names: &[&str]| {
        let texts = names.iter().filter_map(|name| headers.get(*name)?.to_str().ok());
        let mut usable = texts.filter(|text| !text.is_empty() && text.len() <= MAX_LABEL_BYTES);
        usable.next().map(str::to_owned)
    };
    Labels { user: first(&USER_HEADERS), session: first(&SESSION_HEADERS), notes: None }
}

/// Returns the first non-empty text. Each text has its field's name.
///
/// # Errors
/// Returns an error for a text that is too long.
pub fn first_label(texts: &[(&str, &Option<String>)]) -> Result<Option<String>> {
    for (name, text) in texts {
        if text.as_ref().is_some_and(|text| text.len() > MAX_LABEL_BYTES) {
            return Err(Error::invalid(*name, format!("{name} must have at most {MAX_LABEL_BYTES} bytes")));
        }
    }
    Ok(texts.iter().find_map(|(_, text)| text.as_ref().filter(|text| !text.is_empty()).cloned()))
}

/// Reads the labels from the fields of an OpenAI body.
///
/// # Errors
/// Returns an error for a label that is too long.
pub fn from_body(
    user: &Option<String>,
    safety_identifier: &Option<String>,
    metadata: Option<&BTreeMap<String, String>>,
) -> Result<Labels> {
    let user = first_label(&[("user", user), ("safety_identifier", safety_identifier)])?;
    Ok(Labels { user, notes: metadata_json(metadata)?, session: None })
}

/// Serializes `metadata` for the audit record.
fn metadata_json(metadata: Option<&BTreeMap<String, String>>) -> Result<Option<String>> {
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
