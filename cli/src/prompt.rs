//! `mlxd show --prompt`: runs `mlxd-gateway render`, which checks a chat request and gets the prompt from the model's worker.
//!
//! The prompt is therefore the one that the HTTP API makes of the same request. Neither port nor key is needed.

use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::client::ClientError;
use crate::gateway;

/// The text of a file, or of standard input if the name is `-`.
///
/// # Errors
/// The file cannot be read or is not UTF-8.
pub(crate) fn read_input(file: &Path) -> Result<String, ClientError> {
    let read = || match file.to_str() {
        Some("-") => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map(|_| text)
        }
        _ => std::fs::read_to_string(file),
    };
    read().map_err(|cause| ClientError::File { file: file.to_owned(), cause })
}

/// A chat request for one model.
#[derive(Debug, PartialEq)]
pub(crate) struct Request {
    body: Value,
    /// A description of the input, for users.
    pub(crate) form: &'static str,
}

impl Request {
    /// Interprets `text` as a request body, as a list of messages, or else as a user message without its last newline.
    /// The model of a request body is replaced.
    pub(crate) fn from_text(model: &str, text: &str) -> Self {
        let (mut body, form) = match serde_json::from_str(text) {
            Ok(Value::Object(body)) if body.contains_key("messages") => (body, "a chat request"),
            Ok(messages) if is_conversation(&messages) => (with_messages(messages), "a list of messages"),
            _ => {
                let line = text.strip_suffix('\n').unwrap_or(text);
                let line = line.strip_suffix('\r').filter(|_| line.len() < text.len()).unwrap_or(line);
                (with_messages(json!([{"role": "user", "content": line}])), "a text that the user says")
            }
        };
        body.insert("model".to_owned(), model.into());
        Self { body: Value::Object(body), form }
    }
}

fn is_conversation(messages: &Value) -> bool {
    let is_message = |message: &Value| message.get("role").is_some();
    messages.as_array().is_some_and(|messages| !messages.is_empty() && messages.iter().all(is_message))
}

fn with_messages(messages: Value) -> Map<String, Value> {
    Map::from_iter([("messages".to_owned(), messages)])
}

/// The gateway's answer to a request, in JSON; with `pieces` it contains the text of each token.
///
/// # Errors
/// A wrong request, an unknown model, a template that refuses the conversation.
pub(crate) fn render(supervisor: &Path, request: &Request, pieces: bool) -> Result<String, ClientError> {
    let mut arguments = vec![Path::new("render"), Path::new("--supervisor"), supervisor];
    arguments.extend(pieces.then_some(Path::new("--pieces")));
    gateway::run(&arguments, &request.body.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> (Value, &'static str) {
        let Request { body, form } = Request::from_text("m", text);
        (body, form)
    }

    #[test]
    fn input_is_a_request_or_messages_or_a_text() {
        let turns = json!([{"role": "user", "content": "Hi"}]);
        let expected = json!({"messages": turns, "model": "m"});
        let body = json!({"messages": turns, "model": "other", "tools": []}).to_string();
        assert_eq!(request(&body), (json!({"messages": turns, "model": "m", "tools": []}), "a chat request"));
        assert_eq!(request(&turns.to_string()), (expected.clone(), "a list of messages"));
        for text in ["Hi", "Hi\n", "Hi\r\n"] {
            assert_eq!(request(text), (expected.clone(), "a text that the user says"), "{text:?}");
        }
    }

    #[test]
    fn other_json_is_a_text() {
        for text in ["{\"a\": 1}", "[1, 2]", "[]", "\"Hi\"", "7", "Hi\r", "\n\nHi"] {
            assert_eq!(request(text).0["messages"][0]["content"], text);
        }
    }
}
