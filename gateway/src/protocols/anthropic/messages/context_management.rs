//! Parses `context_management`: edits of the conversation. Pure.

use ipc_proto::generate::{Message, Role};
use ipc_proto::{Error, Result};
use serde_json::Value;

use crate::protocols::anthropic::messages::compaction::AutoCompaction;
use crate::protocols::anthropic::messages::wire::{ContextManagement, Edit};

/// Tokens of a prompt that is compacted if the request sets no trigger.
const DEFAULT_TRIGGER: u32 = 150_000;

/// The edits of a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Edits {
    /// The number of newest turns that keep their reasoning, if it is limited.
    pub(super) thinking_turns: Option<u32>,
    pub(super) compaction: Option<AutoCompaction>,
}

/// Parses the edits.
///
/// # Errors
/// Returns an error that names an unsupported edit or an invalid field.
pub(super) fn parse(management: Option<&ContextManagement>) -> Result<Edits> {
    let mut edits = Edits::default();
    for (at, edit) in management.iter().flat_map(|management| &management.edits).enumerate() {
        let path = format!("context_management.edits[{at}]");
        match &*edit.r#type {
            "clear_thinking_20251015" => edits.thinking_turns = parse_keep(&path, edit.keep.as_ref())?,
            "compact_20260112" if edits.compaction.is_none() => {
                edits.compaction = Some(parse_compaction(&path, edit)?);
            }
            other => {
                let text =
                    format!("{path}: \"{other}\" is not supported by this server yet, or there are two");
                return Err(Error::invalid(path, text));
            }
        }
    }
    Ok(edits)
}

/// Returns the number of turns to keep, or `None` for all.
fn parse_keep(path: &str, keep: Option<&Value>) -> Result<Option<u32>> {
    let turns = |keep: &Value| u32::try_from(keep["value"].as_u64()?).ok();
    match keep {
        None | Some(Value::Null) => Ok(Some(1)),
        Some(keep) if keep == "all" || keep["type"] == "all" => Ok(None),
        Some(keep) => match turns(keep).filter(|turns| *turns > 0 && keep["type"] == "thinking_turns") {
            Some(turns) => Ok(Some(turns)),
            None => {
                let path = format!("{path}.keep");
                let text =
                    format!("{path} must be \"all\" or {{\"type\": \"thinking_turns\", \"value\": …}}");
                Err(Error::invalid(path, text))
            }
        },
    }
}

fn parse_compaction(path: &str, edit: &Edit) -> Result<AutoCompaction> {
    let trigger = match edit.trigger.as_ref().filter(|trigger| !trigger.is_null()) {
        None => DEFAULT_TRIGGER,
        Some(trigger) => {
            let tokens = trigger["value"].as_u64().and_then(|tokens| u32::try_from(tokens).ok());
            tokens.filter(|tokens| *tokens > 0 && trigger["type"] == "input_tokens").ok_or_else(|| {
                let path = format!("{path}.trigger");
                let text = format!("{path} must be {{\"type\": \"input_tokens\", \"value\": …}}");
                Error::invalid(path, text)
            })?
        }
    };
    let pause = edit.pause_after_compaction.unwrap_or(false);
    Ok(AutoCompaction { trigger, pause, instructions: edit.instructions.clone() })
}

/// Removes the reasoning from all turns but the newest `turns` that have any. A turn lasts to the next message of the user.
pub(super) fn clear_thinking(messages: &mut [Message], turns: u32) {
    let (mut kept, mut in_turn) = (0, false);
    for message in messages.iter_mut().rev() {
        if message.role == Role::User {
            in_turn = false;
        }
        if message.reasoning.is_none() {
            continue;
        }
        if !std::mem::replace(&mut in_turn, true) {
            kept += 1;
        }
        if kept > turns {
            message.reasoning = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(edit: Value) -> Result<Edits> {
        parse(Some(&serde_json::from_value(json!({"edits": Value::Array(vec![edit])})).unwrap()))
    }

    #[test]
    fn edits_are_parsed() {
        for (keep, turns) in [
            (json!("all"), None),
            (json!({"type": "all"}), None),
            (json!({"type": "thinking_turns", "value": 3}), Some(3)),
            (Value::Null, Some(1)),
        ] {
            let edits = parsed(json!({"type": "clear_thinking_20251015", "keep": keep})).unwrap();
            assert_eq!(edits, Edits { thinking_turns: turns, compaction: None }, "{keep}");
        }
        let bare = parsed(json!({"type": "compact_20260112"})).unwrap().compaction;
        assert_eq!(bare, Some(AutoCompaction { trigger: 150_000, pause: false, instructions: None }));
        let full = json!({"type": "compact_20260112", "trigger": {"type": "input_tokens", "value": 9},
            "pause_after_compaction": true, "instructions": "x"});
        let wanted = AutoCompaction { trigger: 9, pause: true, instructions: Some("x".into()) };
        assert_eq!(parsed(full).unwrap().compaction, Some(wanted));
    }

    #[test]
    fn invalid_edit_is_named() {
        let path = "context_management.edits[0]";
        for (edit, field) in [
            (json!({"type": "clear_tool_uses_20250919"}), String::new()),
            (
                json!({"type": "clear_thinking_20251015", "keep": {"type": "thinking_turns", "value": 0}}),
                ".keep".into(),
            ),
            (json!({"type": "clear_thinking_20251015", "keep": 3}), ".keep".into()),
            (
                json!({"type": "compact_20260112", "trigger": {"type": "tool_uses", "value": 3}}),
                ".trigger".into(),
            ),
        ] {
            let error = parsed(edit.clone()).unwrap_err();
            assert_eq!(error.field, Some(format!("{path}{field}").into()), "{edit}");
        }
    }

    #[test]
    fn reasoning_of_older_turns_is_cleared() {
        let said = |role, reasoning: Option<&str>| Message {
            reasoning: reasoning.map(str::to_owned),
            ..Message::text(role, "x")
        };
        let mut turns = vec![
            said(Role::User, None),
            said(Role::Assistant, Some("a")),
            said(Role::User, None),
            said(Role::Assistant, Some("b")),
            said(Role::Tool, None),
            said(Role::Assistant, Some("c")),
            said(Role::User, None),
            said(Role::Assistant, None),
            said(Role::User, None),
        ];
        clear_thinking(&mut turns, 1);
        let left: Vec<_> = turns.iter().filter_map(|turn| turn.reasoning.as_deref()).collect();
        assert_eq!(left, ["b", "c"]);
    }
}
