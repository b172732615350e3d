//! Settings that items of the history change for the rest of the conversation.

use ipc_proto::{Error, Result};
use serde_json::Value;

use crate::protocols::openai::responses::wire::{Input, Item, Reasoning, Request, Text};

/// Applies the `configuration_update` items of a conversation to its request. Later ones replace earlier ones.
///
/// # Errors
/// Returns an error that names the invalid item.
pub(super) fn apply(request: &mut Request, history: &[Item]) -> Result<()> {
    let input = match &request.input {
        Some(Input::Items(items)) => items.as_slice(),
        _ => &[],
    };
    let is_update = |item: &&Item| item.r#type.as_deref() == Some("configuration_update");
    let updates: Vec<Item> = history.iter().chain(input).filter(is_update).cloned().collect();
    for update in updates {
        let reasoning = update.rest.get("reasoning").cloned().unwrap_or_default();
        let reasoning: Option<Reasoning> = serde_json::from_value(reasoning).map_err(|e| wrong(&e))?;
        if let Some(effort) = reasoning.and_then(|reasoning| reasoning.effort) {
            request.reasoning.get_or_insert_default().effort = Some(effort);
        }
        let text = update.rest.get("text").cloned().unwrap_or_default();
        let text: Option<Text> = serde_json::from_value(text).map_err(|e| wrong(&e))?;
        if let Some(format) = text.and_then(|text| text.format).filter(|format: &Value| !format.is_null()) {
            request.text.get_or_insert_default().format = Some(format);
        }
    }
    Ok(())
}

fn wrong(error: &serde_json::Error) -> Error {
    Error::invalid("input", format!("input: a configuration_update is invalid: {error}"))
}

#[cfg(test)]
mod tests;
