//! Converts items to neutral messages.
//!
//! Calls of every kind become calls of functions, and their outputs results. Items that only mark something are left out. An item of
//! an unknown kind becomes text, so that it does not end a session.

mod calls;

use std::collections::{HashMap, HashSet};

use ipc_proto::generate::{Content as NeutralContent, ContentPart, Image, Message, Role, ToolCall};
use ipc_proto::{Error, Result};

use crate::inference::images::join;
use crate::inference::newest_turn::{Author, refused_from};
use crate::protocols::common::{images, media};
use crate::protocols::openai::responses::compaction::Summary;
use crate::protocols::openai::responses::wire::{Content, Item, Part};
use crate::protocols::openai::responses::{sealed, wire as api};
use crate::protocols::openai::tools::call_forms::CallForms;

/// Builds a user message.
pub(super) fn user_message(text: String) -> Item {
    let content = Some(Content::Text(text));
    Item { r#type: Some("message".into()), role: Some(api::Role::User), content, ..Item::default() }
}

/// The items of previous responses and the new items, with their paths for errors.
pub(in crate::protocols::openai) fn paths<'a>(
    history: &'a [Item],
    input: &'a [Item],
) -> Vec<(String, &'a Item)> {
    let old = history.iter().enumerate();
    let old = old.map(|(at, item)| (format!("previous_response_id: items[{at}]"), item));
    let new = input.iter().enumerate().map(|(at, item)| (format!("input[{at}]"), item));
    old.chain(new).collect()
}

/// Refuses a new result whose call is neither in the previous responses nor in the request. A client that sends the whole
/// conversation may have cut off its beginning.
pub(super) fn check_results(history: &[Item], input: &[Item]) -> Result<()> {
    if history.is_empty() {
        return Ok(());
    }
    let is_output = |item: &Item| item.r#type.as_deref().is_some_and(|kind| kind.ends_with("_output"));
    let calls = history.iter().chain(input).filter(|item| !is_output(item));
    let called: HashSet<&str> = calls.filter_map(|item| item.call_id.as_deref()).collect();
    for (at, item) in input.iter().enumerate().filter(|(_, item)| is_output(item)) {
        if let Some(id) = item.call_id.as_deref().filter(|id| !called.contains(id)) {
            let name = format!("input[{at}].call_id");
            let text = format!("{name}: neither the previous response nor the input has a call \"{id}\"");
            return Err(Error::invalid(&name, text));
        }
    }
    Ok(())
}

/// Whether an item is neither a turn of the user nor one of the model, such as a developer's message.
pub(super) fn is_setting(item: &Item) -> bool {
    matches!(author(item), Author::Other)
}

/// Converts items to messages. `calls` gives the names by which the model knows tools.
pub(in crate::protocols::openai) fn turns(
    instructions: Option<&str>,
    items: &[(String, &Item)],
    calls: &CallForms,
) -> Result<Vec<Message>> {
    let mut turns =
        Turns { turns: Vec::new(), open: None, called: HashMap::new(), refuses_media: false, calls };
    if let Some(instructions) = instructions.filter(|text| !text.is_empty()) {
        turns.push_text(Role::System, instructions.to_owned());
    }
    let authors: Vec<Author> = items.iter().map(|(_, item)| author(item)).collect();
    let refused_from = refused_from(&authors);
    for (at, (path, item)) in items.iter().enumerate() {
        turns.refuses_media = at >= refused_from;
        turns.push_item(path, item)?;
    }
    turns.flush();
    if turns.turns.iter().all(|turn| turn.role == Role::System) {
        return Err(Error::invalid("input", "input must not be empty"));
    }
    images::check_count(&turns.turns)?;
    Ok(turns.turns)
}

fn author(item: &Item) -> Author {
    match (item.r#type.as_deref(), item.role) {
        (None | Some("message"), Some(api::Role::User)) => Author::User,
        (None | Some("message"), Some(api::Role::System | api::Role::Developer)) => Author::Other,
        (Some(kind), _) if kind.ends_with("_output") => Author::Tool,
        (Some("additional_tools" | "configuration_update" | "mcp_approval_response"), _) => Author::Other,
        _ => Author::Assistant,
    }
}

/// Groups items: consecutive reasoning, text and calls of the model form one assistant message.
struct Turns<'a> {
    turns: Vec<Message>,
    /// The assistant message that later items may extend.
    open: Option<Message>,
    /// The names of the called tools, by the calls' ids.
    called: HashMap<String, String>,
    /// Whether media in the current item are refused.
    refuses_media: bool,
    calls: &'a CallForms,
}

impl Turns<'_> {
    fn push_text(&mut self, role: Role, content: impl Into<NeutralContent>) {
        let content = content.into();
        self.flush();
        match self.turns.last_mut() {
            // Models expect one system message at the beginning.
            Some(last) if role == Role::System && last.role == Role::System => {
                last.content.push_text("\n\n");
                last.content.append(&content);
            }
            _ => self.turns.push(Message { role, content, ..Message::default() }),
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

    fn push_result(&mut self, id: String, content: impl Into<NeutralContent>) {
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
            Some("compaction" | "compaction_summary" | "context_compaction") => {
                self.push_compaction(path, item)
            }
            Some(kind) => self.push_other(path, kind, item),
        }
    }

    fn push_message(&mut self, path: &str, item: &Item) -> Result<()> {
        let content = item.content.as_ref().ok_or_else(|| missing(path, "content"))?;
        let content = parse_content(&format!("{path}.content"), content, self.refuses_media)?;
        self.push_turn(item.role.ok_or_else(|| missing(path, "role"))?, content);
        Ok(())
    }

    fn push_turn(&mut self, role: api::Role, content: NeutralContent) {
        match role {
            api::Role::System | api::Role::Developer => self.push_text(Role::System, content),
            api::Role::User => self.push_text(Role::User, content),
            api::Role::Assistant => {
                let open = self.assistant_turn();
                if open.content.is_empty() && open.tool_calls.is_empty() {
                    open.content = content;
                } else {
                    self.flush();
                    self.assistant_turn().content = content;
                }
            }
        }
    }

    fn push_compaction(&mut self, path: &str, item: &Item) -> Result<()> {
        let content = item.encrypted_content.as_deref();
        let content = content.ok_or_else(|| missing(path, "encrypted_content"))?;
        // Another server's summary cannot be read.
        if let Some(summary) = Summary::open(content) {
            self.flush();
            summary.apply(&mut self.turns);
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

/// The texts of a content.
fn parse_text(name: &str, content: &Content) -> Result<String> {
    Ok(parse_content(name, content, false)?.text().into_owned())
}

fn parse_content(name: &str, content: &Content, refuses_media: bool) -> Result<NeutralContent> {
    Ok(join(parse_parts(name, content, refuses_media)?, ""))
}

/// The output of a call. Its parts are values of their own, such as the elements of a list: each begins a line.
fn parse_output(name: &str, content: &Content) -> Result<NeutralContent> {
    Ok(join(parse_parts(name, content, false)?, "\n"))
}

fn parse_parts(name: &str, content: &Content, refuses_media: bool) -> Result<Vec<ContentPart>> {
    match content {
        Content::Text(text) => Ok(vec![ContentPart::Text(text.clone())]),
        Content::Parts(parts) => {
            let read = |(at, part)| read_part(&format!("{name}[{at}]"), part, refuses_media);
            parts.iter().enumerate().map(read).collect()
        }
        Content::Other(_) => {
            Err(Error::invalid(name, format!("{name}: expected a string or a list of content parts")))
        }
    }
}

fn read_part(name: &str, part: &Part, refuses_media: bool) -> Result<ContentPart> {
    let given = match &*part.r#type {
        "input_text" | "output_text" | "text" | "reasoning_text" | "summary_text" => &part.text,
        "refusal" => &part.refusal,
        "input_image" => return images::part(read_image(name, part), refuses_media),
        other => {
            let name = format!("{name}.type");
            if let Some(medium) = media::medium(other) {
                return images::other_part(&name, medium, refuses_media);
            }
            let text = format!("{name}: \"{other}\" is not supported, only texts and images");
            return Err(Error::invalid(&name, text));
        }
    };
    given.clone().map(ContentPart::Text).ok_or_else(|| missing(name, "text"))
}

fn read_image(name: &str, part: &Part) -> Result<Image> {
    if part.file_id.is_some() && part.image_url.is_none() {
        let name = format!("{name}.file_id");
        return Err(Error::invalid(&name, format!("{name} is not supported: send the image as image_url")));
    }
    let url = part.image_url.as_ref().ok_or_else(|| missing(name, "image_url"))?;
    images::from_value(&format!("{name}.image_url"), url, part.detail.as_deref())
}

#[cfg(test)]
mod tests;
