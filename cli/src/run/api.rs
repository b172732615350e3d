//! The pieces of a chat's answer.

use serde_json::Value;

use super::RunError;
use crate::generation::Api;

/// The path of chats.
pub(super) const PATH: &str = "/v1/chat/completions";

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Reasoning(String),
}

/// Streams an answer until its end, or until `stopped` says so between two pieces.
pub(super) fn stream(
    api: &Api,
    request: &Value,
    stopped: &dyn Fn() -> bool,
    mut each: impl FnMut(Piece) -> std::io::Result<()>,
) -> Result<(), RunError> {
    api.events(PATH, request, stopped, |event| Ok(pieces(event).into_iter().try_for_each(&mut each)?))
}

/// The pieces in the data of one event.
fn pieces(event: &Value) -> Vec<Piece> {
    let text = |name: &str| event.pointer(&format!("/choices/0/delta/{name}")).and_then(Value::as_str);
    let known = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
    let reasoning = known(text("reasoning_content")).map(Piece::Reasoning);
    reasoning.into_iter().chain(known(text("content")).map(Piece::Text)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn event_has_reasoning_and_text() {
        let event = json!({"choices": [{"delta": {"content": "a", "reasoning_content": "b"}}]});
        assert_eq!(pieces(&event), [Piece::Reasoning("b".into()), Piece::Text("a".into())]);
        assert_eq!(pieces(&json!({"choices": [{"delta": {"role": "assistant", "content": ""}}]})), []);
        assert_eq!(pieces(&json!({"choices": []})), []);
    }
}
