//! From items to neutral turns.

use std::collections::HashMap;

use ipc_proto::generate::{Message, Role, ToolCall};
use ipc_proto::{Error, Result};

use crate::protocols::openai::responses::wire::{Content, Item, Part};
use crate::protocols::openai::responses::{sealed, wire as api};

/// What OpenAI's servers did in earlier turns and tell of. What came of it is in the message that follows; the model here has
/// no such tool, and is not told of it.
const DONE_ELSEWHERE: [&str; 4] =
    ["web_search_call", "file_search_call", "code_interpreter_call", "mcp_list_tools"];

/// A user's message.
pub(super) fn said(text: String) -> Item {
    let content = Some(Content::Text(text));
    Item { r#type: Some("message".into()), role: Some(api::Role::User), content, ..Item::default() }
}

/// The whole conversation: items of earlier responses, then new ones.
pub(super) fn turns(instructions: Option<&str>, history: &[Item], input: &[Item]) -> Result<Vec<Message>> {
    let mut folded = Turns::default();
    if let Some(instructions) = instructions.filter(|text| !text.is_empty()) {
        folded.say(Role::System, instructions.to_owned());
    }
    for (at, item) in history.iter().enumerate() {
        folded.item(&format!("previous_response_id: items[{at}]"), item)?;
    }
    for (at, item) in input.iter().enumerate() {
        folded.item(&format!("input[{at}]"), item)?;
    }
    folded.flush();
    if folded.turns.iter().all(|turn| turn.role == Role::System) {
        return Err(Error::invalid("input", "input must not be empty"));
    }
    Ok(folded.turns)
}

/// Folds items; what the model thought, said and called one after another is one turn of it.
#[derive(Default)]
struct Turns {
    turns: Vec<Message>,
    /// The model's turn that may go on.
    open: Option<Message>,
    called: HashMap<String, String>,
}

impl Turns {
    fn say(&mut self, role: Role, content: String) {
        self.flush();
        match self.turns.last_mut() {
            // Models expect one system message, at the beginning.
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

    fn open(&mut self) -> &mut Message {
        self.open.get_or_insert_with(|| Message { role: Role::Assistant, ..Message::default() })
    }

    fn item(&mut self, at: &str, item: &Item) -> Result<()> {
        if let Some(id) = item.reference() {
            let name = format!("{at}.id");
            return Err(Error::invalid(&name, format!("{name}: there is no item \"{id}\" that is kept")));
        }
        match item.r#type.as_deref() {
            None | Some("message") => self.message(at, item),
            Some("reasoning") => {
                self.thought(at, item)?;
                Ok(())
            }
            Some("function_call") => {
                let needed =
                    |field: &str, value: &Option<String>| value.clone().ok_or_else(|| missing(at, field));
                let call = ToolCall {
                    id: needed("call_id", &item.call_id)?,
                    name: needed("name", &item.name)?,
                    arguments: needed("arguments", &item.arguments)?,
                };
                self.called.insert(call.id.clone(), call.name.clone());
                self.open().tool_calls.push(call);
                Ok(())
            }
            Some("function_call_output") => {
                let id = item.call_id.clone().ok_or_else(|| missing(at, "call_id"))?;
                let output = item.output.as_ref().ok_or_else(|| missing(at, "output"))?;
                let content = text(&format!("{at}.output"), output)?;
                self.flush();
                let name = self.called.get(&id).cloned();
                self.turns.push(Message::result(Some(id), name, content));
                Ok(())
            }
            Some(kind) if DONE_ELSEWHERE.contains(&kind) => Ok(()),
            Some(other) => {
                let name = format!("{at}.type");
                Err(Error::invalid(&name, format!("{name}: \"{other}\" is not supported by this server")))
            }
        }
    }

    fn message(&mut self, at: &str, item: &Item) -> Result<()> {
        let content = item.content.as_ref().ok_or_else(|| missing(at, "content"))?;
        let content = text(&format!("{at}.content"), content)?;
        match item.role.ok_or_else(|| missing(at, "role"))? {
            api::Role::System | api::Role::Developer => self.say(Role::System, content),
            api::Role::User => self.say(Role::User, content),
            api::Role::Assistant => {
                let open = self.open();
                if open.content.is_empty() && open.tool_calls.is_empty() {
                    open.content = content.into();
                } else {
                    self.flush();
                    self.open().content = content.into();
                }
            }
        }
        Ok(())
    }

    /// In the clear, else as we sealed it, else its summary.
    fn thought(&mut self, at: &str, item: &Item) -> Result<()> {
        let summary = || item.summary.clone().filter(|parts| !parts.is_empty()).map(Content::Parts);
        let content = item.content.as_ref().filter(|content| **content != Content::Parts(Vec::new()));
        let sealed = || item.encrypted_content.as_deref().and_then(sealed::open);
        let thought = match (content, sealed()) {
            (Some(content), _) => text(&format!("{at}.content"), content)?,
            (None, Some(thought)) => thought,
            (None, None) => match summary() {
                Some(summary) => text(&format!("{at}.summary"), &summary)?,
                None => return Ok(()),
            },
        };
        let open = self.open();
        if !open.content.is_empty() || !open.tool_calls.is_empty() {
            self.flush();
        }
        self.open().reasoning.get_or_insert_default().push_str(&thought);
        Ok(())
    }
}

fn missing(at: &str, field: &str) -> Error {
    let name = format!("{at}.{field}");
    Error::invalid(&name, format!("{name} is missing"))
}

fn text(name: &str, content: &Content) -> Result<String> {
    match content {
        Content::Text(text) => Ok(text.clone()),
        Content::Parts(parts) => {
            let read = |(at, part)| part_text(&format!("{name}[{at}]"), part);
            Ok(parts.iter().enumerate().map(read).collect::<Result<Vec<_>>>()?.concat())
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
