//! Converts items to neutral messages.
//!
//! Calls of every kind become calls of functions, and their outputs results. Items that only mark something are left out. An item of
//! an unknown kind becomes text, so that it does not end a session.

mod calls;

use std::collections::HashMap;

use ipc_proto::generate::{Message, Role, ToolCall};
use ipc_proto::{Error, Result};

use crate::protocols::openai::responses::wire::{Content, Item, Part};
use crate::protocols::openai::responses::{sealed, wire as api};
use crate::protocols::openai::tools::call_forms::CallForms;

/// Builds a user message.
pub(super) fn user_message(text: String) -> Item {
    let content = Some(Content::Text(text));
    Item { r#type: Some("message".into()), role: Some(api::Role::User), content, ..Item::default() }
}

/// The items of previous responses and the new items, with their paths for errors.
pub(super) fn paths<'a>(history: &'a [Item], input: &'a [Item]) -> Vec<(String, &'a Item)> {
    let old = history.iter().enumerate();
    let old = old.map(|(at, item)| (format!("previous_response_id: items[{at}]"), item));
    let new = input.iter().enumerate().map(|(at, item)| (format!("input[{at}]"), item));
    old.chain(new).collect()
}

/// Converts items to messages. `calls` gives the names by which the model knows tools.
pub(super) fn turns(
    instructions: Option<&str>,
    items: &[(String, &Item)],
    calls: &CallForms,
) -> Result<Vec<Message>> {
    let mut turns = Turns { turns: Vec::new(), open: None, called: HashMap::new(), calls };
    if let Some(instructions) = instructions.filter(|text| !text.is_empty()) {
        turns.push_text(Role::System, instructions.to_owned());
    }
    for (path, item) in items {
        turns.push_item(path, item)?;
    }
    turns.flush();
    if turns.turns.iter().all(|turn| turn.role == Role::System) {
        return Err(Error::invalid("input", "input must not be empty"));
    }
    Ok(turns.turns)
}

/// Groups items: consecutive reasoning, text and calls of the model form one assistant message.
struct Turns<'a> {
    turns: Vec<Message>,
    /// The assistant message that later items may extend.
    open: Option<Message>,
    /// The names of the called tools, by the calls' ids.
    called: HashMap<String, String>,
    calls: &'a CallForms,
}

impl Turns<'_> {
    fn push_text(&mut self, role: Role, content: String) {
        self.flush();
        match self.turns.last_mut() {
            // Models expect one system message at the beginning.
            Some(last) if role == Role::System && last.role == Role::System => {
                last.content.push_text("\n\n");
                last.content.push_text(&content);
            }
            _ => self.turns.push(Message::text(role, content)),
        }
    }

    fn flush(&mut self) {
        self.turns.extend(self.open.take());
    }

    fn assistant_turn(&mut self) -> &mut Message {
        self.open.get_or_insert_with(|| Message { role: Role::Assistant, ..Message::default() })
    }

    fn push_call(&mut self, call: ToolCall) {
        self.called.insert(call.id.clone(), call.name.clone());
        self.assistant_turn().tool_calls.push(call);
    }

    fn push_result(&mut self, id: String, content: String) {
        self.flush();
        let name = self.called.get(&id).cloned();
        self.turns.push(Message::result(Some(id), name, content));
    }

    fn push_item(&mut self, path: &str, item: &Item) -> Result<()> {
        if let Some(id) = item.reference() {
            let name = format!("{path}.id");
            return Err(Error::invalid(&name, format!("{name}: there is no item \"{id}\" that is kept")));
        }
        match item.r#type.as_deref() {
            None | Some("message") => self.push_message(path, item),
            Some("reasoning") => self.push_reasoning(path, item),
            Some(kind) => self.push_other(path, kind, item),
        }
    }

    fn push_message(&mut self, path: &str, item: &Item) -> Result<()> {
        let content = item.content.as_ref().ok_or_else(|| missing(path, "content"))?;
        let content = parse_text(&format!("{path}.content"), content)?;
        match item.role.ok_or_else(|| missing(path, "role"))? {
            api::Role::System | api::Role::Developer => self.push_text(Role::System, content),
            api::Role::User => self.push_text(Role::User, content),
            api::Role::Assistant => {
                let open = self.assistant_turn();
                if open.content.is_empty() && open.tool_calls.is_empty() {
                    open.content = content.into();
                } else {
                    self.flush();
                    self.assistant_turn().content = content.into();
                }
            }
        }
        Ok(())
    }

    /// Uses the plain content, otherwise the sealed content, otherwise the summary.
    fn push_reasoning(&mut self, path: &str, item: &Item) -> Result<()> {
        let summary = || item.summary.clone().filter(|parts| !parts.is_empty()).map(Content::Parts);
        let content = item.content.as_ref().filter(|content| **content != Content::Parts(Vec::new()));
        let sealed = || item.encrypted_content.as_deref().and_then(sealed::open);
        let thought = match (content, sealed()) {
            (Some(content), _) => parse_text(&format!("{path}.content"), content)?,
            (None, Some(thought)) => thought,
            (None, None) => match summary() {
                Some(summary) => parse_text(&format!("{path}.summary"), &summary)?,
                None => return Ok(()),
            },
        };
        let open = self.assistant_turn();
        if !open.content.is_empty() || !open.tool_calls.is_empty() {
            self.flush();
        }
        self.assistant_turn().reasoning.get_or_insert_default().push_str(&thought);
        Ok(())
    }
}

fn missing(path: &str, field: &str) -> Error {
    let name = format!("{path}.{field}");
    Error::invalid(&name, format!("{name} is missing"))
}

fn parse_text(name: &str, content: &Content) -> Result<String> {
    match content {
        Content::Text(text) => Ok(text.clone()),
        Content::Parts(parts) => {
            let read = |(at, part)| part_text(&format!("{name}[{at}]"), part);
            Ok(parts.iter().enumerate().map(read).collect::<Result<Vec<_>>>()?.concat())
        }
        Content::Other(_) => {
            Err(Error::invalid(name, format!("{name}: expected a string or a list of content parts")))
        }
    }
}

fn part_text(name: &str, part: &Part) -> Result<String> {
    let given = match &*part.r#type {
        "input_text" | "output_text" | "text" | "reasoning_text" | "summary_text" => &part.text,
        "refusal" => &part.refusal,
        other => {
            let name = format!("{name}.type");
            return Err(Error::invalid(&name, format!("{name}: \"{other}\" is not supported, only texts")));
        }
    };
    given.clone().ok_or_else(|| missing(name, "text"))
}

#[cfg(test)]
mod tests;
