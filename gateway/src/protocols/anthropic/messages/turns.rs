//! Converts Anthropic's blocks to neutral messages.

use std::collections::HashMap;

use ipc_proto::generate::{Message, Role, ToolCall};
use ipc_proto::{Error, Result};
use serde_json::Value;

use crate::protocols::anthropic::messages::wire as messages;
use crate::protocols::anthropic::messages::wire::{Block, Content};
use crate::protocols::common::checks::check_continuation;

/// The beginning of Claude Code's first system block, a line about its version and the current request. The block is removed: it
/// differs in every request, so the prefix cache would never match the text after it.
const ATTRIBUTION: &str = "x-anthropic-billing-header:";

/// Converts the whole conversation. Returns whether the output continues its last message, which is then the assistant's.
pub(super) fn parse(system: Option<Content>, turns: Vec<messages::Message>) -> Result<(Vec<Message>, bool)> {
    if turns.is_empty() {
        return Err(Error::invalid("messages", "messages must not be empty"));
    }
    let mut parsed = Turns::default();
    if let Some(system) = system {
        parsed.push_system("system", system)?;
    }
    let last = turns.last().map(|turn| turn.role);
    for (at, turn) in turns.into_iter().enumerate() {
        let name = format!("messages[{at}].content");
        match turn.role {
            messages::Role::System => parsed.push_system(&name, turn.content)?,
            messages::Role::User => parsed.push_user(&name, turn.content)?,
            messages::Role::Assistant => parsed.push_assistant(&name, turn.content)?,
        }
    }
    let continues = last == Some(messages::Role::Assistant);
    check_continuation("messages", continues, &parsed.turns)?;
    Ok((parsed.turns, continues))
}

#[derive(Default)]
struct Turns {
    turns: Vec<Message>,
    /// Names of the functions called, by the call's id.
    called: HashMap<String, String>,
}

impl Turns {
    fn push_text(&mut self, role: Role, content: String) {
        self.turns.push(Message::text(role, content));
    }

    fn push_system(&mut self, name: &str, content: Content) -> Result<()> {
        let mut blocks = blocks(content);
        let attribution = |block: &Block| block.text.as_deref().is_some_and(|t| t.starts_with(ATTRIBUTION));
        if blocks.first().is_some_and(attribution) {
            blocks.remove(0);
        }
        let text = |(at, block)| text_block(&format!("{name}[{at}]"), block);
        let texts = blocks.into_iter().enumerate().map(text).collect::<Result<Vec<_>>>()?;
        if texts.iter().any(|text| !text.is_empty()) {
            self.push_text(Role::System, texts.join("\n"));
        }
        Ok(())
    }

    fn push_user(&mut self, name: &str, content: Content) -> Result<()> {
        let mut texts = Vec::new();
        let mut said = false;
        for (at, block) in blocks(content).into_iter().enumerate() {
            let name = format!("{name}[{at}]");
            if block.r#type != "tool_result" {
                texts.push(block_text(&name, block)?);
                continue;
            }
            if !texts.is_empty() {
                self.push_text(Role::User, std::mem::take(&mut texts).join("\n"));
            }
            self.push_result(&name, block)?;
            said = true;
        }
        if !texts.is_empty() || !said {
            self.push_text(Role::User, texts.join("\n"));
        }
        Ok(())
    }

    fn push_result(&mut self, name: &str, block: Block) -> Result<()> {
        let id = block.tool_use_id.ok_or_else(|| missing(name, "tool_use_id"))?;
        let read = |(at, block)| block_text(&format!("{name}.content[{at}]"), block);
        let texts = block.content.map(blocks).unwrap_or_default().into_iter().enumerate().map(read);
        let mut content = texts.collect::<Result<Vec<_>>>()?.join("\n");
        if block.is_error == Some(true) {
            content = format!("Error: {content}");
        }
        let name = self.called.get(&id).cloned();
        self.turns.push(Message::result(Some(id), name, content));
        Ok(())
    }

    fn push_assistant(&mut self, name: &str, content: Content) -> Result<()> {
        let mut turn = Message { role: Role::Assistant, ..Message::default() };
        let mut texts = Vec::new();
        for (at, block) in blocks(content).into_iter().enumerate() {
            let name = format!("{name}[{at}]");
            match &*block.r#type {
                "tool_use" => turn.tool_calls.push(self.parse_call(&name, block)?),
                "thinking" => {
                    let thought = block.thinking.ok_or_else(|| missing(&name, "thinking"))?;
                    turn.reasoning.get_or_insert_default().push_str(&thought);
                }
                // Only Anthropic's servers can decrypt it.
                "redacted_thinking" => {}
                _ => texts.push(text_block(&name, block)?),
            }
        }
        turn.content = texts.concat().into();
        self.turns.push(turn);
        Ok(())
    }

    fn parse_call(&mut self, at: &str, block: Block) -> Result<ToolCall> {
        let id = block.id.ok_or_else(|| missing(at, "id"))?;
        let name = block.name.ok_or_else(|| missing(at, "name"))?;
        self.called.insert(id.clone(), name.clone());
        let arguments = Value::Object(block.input.unwrap_or_default()).to_string();
        Ok(ToolCall { id, name, arguments })
    }
}

fn blocks(content: Content) -> Vec<Block> {
    match content {
        Content::Text(text) => vec![Block { r#type: "text".into(), text: Some(text), ..Block::default() }],
        Content::Blocks(blocks) => blocks,
    }
}

fn missing(name: &str, field: &str) -> Error {
    let name = format!("{name}.{field}");
    Error::invalid(&name, format!("{name} is missing"))
}

fn unsupported(name: &str, what: &str) -> Error {
    Error::invalid(name, format!("{name}: {what} is not supported by this server"))
}

fn text_block(name: &str, block: Block) -> Result<String> {
    match &*block.r#type {
        "text" => block.text.ok_or_else(|| missing(name, "text")),
        other => Err(unsupported(name, &format!("a block of type \"{other}\" here"))),
    }
}

/// Returns the text of a block, in a form for models without vision.
fn block_text(name: &str, block: Block) -> Result<String> {
    let cited = block.citations.as_ref().and_then(|citations| citations.get("enabled"));
    if cited == Some(&Value::Bool(true)) {
        return Err(unsupported(&format!("{name}.citations"), "an answer with citations"));
    }
    match &*block.r#type {
        "document" => document(name, block),
        "search_result" => {
            let source = block.source.as_ref().and_then(Value::as_str).map(str::to_owned);
            let text = join_text_blocks(name, block.content.unwrap_or(Content::Blocks(Vec::new())))?;
            Ok(in_tag("search_result", &[("source", source), ("title", block.title)], &text))
        }
        "image" => Err(unsupported(name, "an image")),
        _ => text_block(name, block),
    }
}

fn document(name: &str, block: Block) -> Result<String> {
    let source = block.source.ok_or_else(|| missing(name, "source"))?;
    let name = format!("{name}.source");
    let text = match source.get("type").and_then(Value::as_str) {
        Some("text") => source.get("data").and_then(Value::as_str).map(str::to_owned),
        Some("content") => {
            let content = source.get("content").cloned().map(serde_json::from_value::<Content>);
            content
                .and_then(std::result::Result::ok)
                .map(|content| join_text_blocks(&format!("{name}.content"), content))
                .transpose()?
        }
        other => {
            let what = format!("a source of type \"{}\"", other.unwrap_or_default());
            return Err(unsupported(&name, &what));
        }
    };
    let text = text.ok_or_else(|| Error::invalid(&name, format!("{name} holds no text")))?;
    Ok(in_tag("document", &[("title", block.title), ("context", block.context)], &text))
}

fn join_text_blocks(name: &str, content: Content) -> Result<String> {
    let read = |(at, block)| text_block(&format!("{name}[{at}]"), block);
    Ok(blocks(content).into_iter().enumerate().map(read).collect::<Result<Vec<_>>>()?.join("\n"))
}

fn in_tag(tag: &str, attributes: &[(&str, Option<String>)], text: &str) -> String {
    let given = attributes.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
    let given: String = given.map(|(name, value)| format!(" {name}={value:?}")).collect();
    format!("<{tag}{given}>\n{text}\n</{tag}>")
}
