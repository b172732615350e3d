//! The items and events of calls, by the kind of the tool.

use serde_json::Value;

use crate::protocols::openai::responses::answer::Item;
use crate::protocols::openai::responses::events::Body;
use crate::protocols::openai::tools::call_forms::{CallForm, CallKind};

/// The beginning of an item's id.
pub(super) fn id_prefix(kind: CallKind) -> &'static str {
    match kind {
        CallKind::Function => "fc",
        CallKind::Custom => "ctc",
        CallKind::ToolSearch => "tsc",
    }
}

/// The name of an event with more of a call's arguments. Searches have none.
pub(super) fn delta_event(kind: CallKind) -> Option<&'static str> {
    match kind {
        CallKind::Function => Some("response.function_call_arguments.delta"),
        CallKind::Custom => Some("response.custom_tool_call_input.delta"),
        CallKind::ToolSearch => None,
    }
}

/// The event with all arguments of the item of this id and index. Searches have none.
pub(super) fn done_event<'a>(
    form: &'a CallForm,
    (item_id, output_index): (&'a str, usize),
    text: &'a str,
) -> Option<(&'static str, Body<'a>)> {
    match form.kind {
        CallKind::Function => {
            let body = Body::ArgumentsDone { item_id, output_index, name: &form.name, arguments: text };
            Some(("response.function_call_arguments.done", body))
        }
        CallKind::Custom => {
            let body = Body::InputDone { item_id, output_index, input: text };
            Some(("response.custom_tool_call_input.done", body))
        }
        CallKind::ToolSearch => None,
    }
}

/// A call with its id, call id and status. `text` is the arguments, or the text of a custom tool.
pub(super) fn item(
    (id, call_id, status): (String, String, &'static str),
    form: &CallForm,
    text: &str,
) -> Item {
    let CallForm { kind, namespace, name } = form.clone();
    let text = text.to_owned();
    match kind {
        CallKind::Function => Item::FunctionCall { id, status, call_id, name, namespace, arguments: text },
        CallKind::Custom => Item::CustomToolCall { id, status, call_id, name, namespace, input: text },
        CallKind::ToolSearch => {
            let arguments = serde_json::from_str(&text).unwrap_or(Value::String(text));
            Item::ToolSearchCall { id, status, call_id, execution: "client", arguments }
        }
    }
}
