//! Converts Anthropic's messages to neutral ones.

use std::collections::HashMap;

use ipc_proto::generate::{Content as NeutralContent, ContentPart, Message, Role, ToolCall};
use ipc_proto::{Error, Result};
use serde_json::Value;

use crate::inference::images::join;
use crate::inference::newest_turn::{Author, refused_from};
use crate::protocols::anthropic::messages::blocks::{blocks, missing, part, plain_text};
use crate::protocols::anthropic::messages::tools::Toolset;
use crate::protocols::anthropic::messages::wire as messages;
use crate::protocols::anthropic::messages::wire::{Block, Content};
use crate::protocols::anthropic::messages::{attribution, compaction, thinking};
use crate::protocols::common::checks::check_continuation;
use crate::protocols::common::images;

/// Blocks of an assistant message that the model does not see. Only Anthropic's servers can decrypt redacted reasoning.
const UNSEEN: [&str; 4] = ["redacted_thinking", "fallback", "mcp_tool_listing", "container_upload"];

/// A conversation in neutral form.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    pub(super) messages: Vec<Message>,
    /// Whether the output continues the last message, which is then the assistant's.
    pub(super) continues: bool,
    /// The tools with the changes that the messages make.
    pub(super) tools: Toolset,
    /// The effort that a system message sets.
    pub(super) effort: Option<String>,
}

/// Converts the whole conversation.
///
/// # Errors
/// Returns an error that names the invalid field.
pub(super) fn parse(
    system: Option<Content>,
    messages: Vec<messages::Message>,
    tools: Toolset,
) -> Result<Conversation> {
    if messages.is_empty() {
        return Err(Error::invalid("messages", "messages must not be empty"));
    }
    let mut turns = Turns { tools, ..Turns::default() };
    if let Some(system) = system {
        turns.push_system("system", blocks(system))?;
    }
    let last_user = messages.iter().rposition(|message| message.role == messages::Role::User);
    let ends_with_assistant = messages.last().is_some_and(|last| last.role == messages::Role::Assistant);
    let mut contents = Vec::with_capacity(messages.len());
    let mut effort = None;
    for (at, message) in messages.into_iter().enumerate() {
        let path = format!("messages[{at}]");
        effort = message_effort(&path, &message)?.or(effort);
        let cleared = clears(&path, &message)? && last_user.is_some_and(|user| at < user);
        let (role, mut content) = (message.role, message_blocks(&path, message)?);
        if cleared {
            content.retain(is_tool_change);
        }
        contents.push((role, content));
    }
    let authors: Vec<Author> = contents.iter().map(|(role, blocks)| author(*role, blocks)).collect();
    let refused_from = refused_from(&authors);
    let compaction = find_compaction(&contents);
    for (at, (role, mut blocks)) in contents.into_iter().enumerate() {
        let name = format!("messages[{at}].content");
        turns.refuses_media = at >= refused_from;
        turns.first_block = 0;
        if let Some((message, block)) = compaction
            && at <= message
        {
            let kept = if at == message { blocks.split_off(block) } else { Vec::new() };
            turns
                .replaced
                .extend(blocks.into_iter().enumerate().map(|(n, block)| (format!("{name}[{n}]"), block)));
            if at < message {
                continue;
            }
            (blocks, turns.first_block) = (kept, block);
        }
        match role {
            messages::Role::System => turns.push_system(&name, blocks)?,
            messages::Role::User => turns.push_user(&name, blocks)?,
            messages::Role::Assistant => turns.push_assistant(&name, blocks)?,
        }
    }
    let Turns { turns, tools, .. } = turns;
    let continues = ends_with_assistant && turns.last().is_some_and(|last| last.role == Role::Assistant);
    check_continuation("messages", continues, &turns)?;
    images::check_count(&turns)?;
    Ok(Conversation { messages: turns, continues, tools, effort })
}

/// Returns the effort that a system message sets.
fn message_effort(path: &str, message: &messages::Message) -> Result<Option<String>> {
    let Some(config) = &message.output_config else { return Ok(None) };
    let name = format!("{path}.output_config");
    if message.role != messages::Role::System {
        return Err(Error::invalid(&name, format!("{name} is only allowed in system messages")));
    }
    if config.format.is_some() {
        let name = format!("{name}.format");
        return Err(Error::invalid(&name, format!("{name} is only allowed at the top level")));
    }
    thinking::check_effort(&format!("{name}.effort"), config.effort.as_deref())?;
    Ok(config.effort.clone())
}

/// Whether the next user message clears this message.
fn clears(path: &str, message: &messages::Message) -> Result<bool> {
    let name = format!("{path}.clear_at");
    match message.clear_at.as_deref() {
        None => Ok(false),
        Some(_) if message.role != messages::Role::System => {
            Err(Error::invalid(&name, format!("{name} is only allowed in system messages")))
        }
        Some("never") => Ok(false),
        Some("next_user_message") => Ok(true),
        Some(_) => Err(Error::invalid(&name, format!("{name} must be \"never\" or \"next_user_message\""))),
    }
}

fn message_blocks(path: &str, message: messages::Message) -> Result<Vec<Block>> {
    let name = format!("{path}.content");
    match message.content {
        Some(Content::One(_)) => {
            Err(Error::invalid(&name, format!("{name}: expected a string or a list of content blocks")))
        }
        Some(content) => Ok(blocks(content)),
        None if message.output_config.is_some_and(|config| config.effort.is_some()) => Ok(Vec::new()),
        None => Err(missing(path, "content")),
    }
}

fn author(role: messages::Role, blocks: &[Block]) -> Author {
    match role {
        messages::Role::Assistant => Author::Assistant,
        messages::Role::System => Author::Other,
        messages::Role::User if blocks.iter().any(|block| block.r#type == "tool_result") => Author::Tool,
        messages::Role::User => Author::User,
    }
}

/// Returns the message and the block of the last summary. It replaces everything before it. A compaction that failed has none.
fn find_compaction(contents: &[(messages::Role, Vec<Block>)]) -> Option<(usize, usize)> {
    let is_summary = |block: &Block| block.r#type == "compaction" && block.content.is_some();
    let in_message = |(at, (role, blocks)): (usize, &(messages::Role, Vec<Block>))| {
        let block = blocks.iter().rposition(is_summary).filter(|_| *role != messages::Role::System)?;
        Some((at, block))
    };
    contents.iter().enumerate().rev().find_map(in_message)
}

#[derive(Default)]
struct Turns {
    turns: Vec<Message>,
    /// Names of the functions called, by the call's id.
    called: HashMap<String, String>,
    tools: Toolset,
    /// Whether media in the current message are refused.
    refuses_media: bool,
    /// The index of the current message's first block, after those that a compaction replaces.
    first_block: usize,
    /// The blocks that a compaction replaces, with their paths.
    replaced: Vec<(String, Block)>,
}

impl Turns {
    fn push_text(&mut self, role: Role, content: impl Into<NeutralContent>) {
        self.turns.push(Message::text(role, content));
    }

    fn push_system(&mut self, name: &str, blocks: Vec<Block>) -> Result<()> {
        let mut texts = Vec::new();
        for (at, block) in blocks.into_iter().enumerate() {
            let name = format!("{name}[{at}]");
            if is_tool_change(&block) {
                self.tools.change(&name, block)?;
                continue;
            }
            texts.extend(self.tools.take_announcement());
            texts.extend(attribution::strip(plain_text(&name, block)?));
        }
        texts.extend(self.tools.take_announcement());
        if texts.iter().any(|text| !text.is_empty()) {
            self.push_text(Role::System, texts.join("\n"));
        }
        Ok(())
    }

    fn push_user(&mut self, name: &str, blocks: Vec<Block>) -> Result<()> {
        let mut parts = Vec::new();
        let before = self.turns.len();
        for (at, block) in (self.first_block..).zip(blocks) {
            let name = format!("{name}[{at}]");
            match &*block.r#type {
                "tool_result" => {
                    if !parts.is_empty() {
                        self.push_text(Role::User, join(std::mem::take(&mut parts), "\n"));
                    }
                    self.push_result(&name, block)?;
                }
                "compaction" => self.push_summary(&name, block)?,
                _ if is_tool_change(&block) => self.tools.change(&name, block)?,
                _ => {
                    parts.extend(self.announcement());
                    parts.push(part(&name, block, self.refuses_media)?);
                }
            }
        }
        parts.extend(self.announcement());
        if !parts.is_empty() || self.turns.len() == before {
            self.push_text(Role::User, join(parts, "\n"));
        }
        Ok(())
    }

    fn announcement(&mut self) -> Option<ContentPart> {
        self.tools.take_announcement().map(ContentPart::Text)
    }

    fn push_result(&mut self, name: &str, block: Block) -> Result<()> {
        let id = block.tool_use_id.ok_or_else(|| missing(name, "tool_use_id"))?;
        let mut parts = Vec::new();
        for (at, block) in block.content.map(blocks).unwrap_or_default().into_iter().enumerate() {
            parts.extend(self.read_result(&format!("{name}.content[{at}]"), block)?);
        }
        parts.extend(self.announcement());
        let mut content = join(parts, "\n");
        if block.is_error == Some(true) {
            content.prepend_text("Error: ");
        }
        let name = self.called.get(&id).cloned();
        self.turns.push(Message::result(Some(id), name, content));
        Ok(())
    }

    /// Reads a block of a result. Returns `None` for references to tools, which are announced together.
    fn read_result(&mut self, name: &str, block: Block) -> Result<Option<ContentPart>> {
        match &*block.r#type {
            "tool_reference" => {
                let tool = block.tool_name.ok_or_else(|| missing(name, "tool_name"))?;
                self.tools.refer(&tool);
                Ok(None)
            }
            "tool_search_tool_search_result" => {
                for (at, block) in block.tool_references.unwrap_or_default().into_iter().enumerate() {
                    self.read_result(&format!("{name}.tool_references[{at}]"), block)?;
                }
                Ok(None)
            }
            "tool_search_tool_result_error" => {
                let code = block.error_code.unwrap_or_default();
                Ok(Some(ContentPart::Text(format!("Error: {code}"))))
            }
            // Media in results come from tools. A refusal would end an agent's session for good.
            _ => part(name, block, false).map(Some),
        }
    }

    /// Pushes the summary of the messages that a compaction replaces. Its tools stay offered.
    fn push_summary(&mut self, name: &str, block: Block) -> Result<()> {
        let replaced = std::mem::take(&mut self.replaced);
        let Some(summary) = block.content else { return Ok(()) };
        let summary: Vec<String> = blocks(summary).into_iter().filter_map(|block| block.text).collect();
        let summary = summary.join("\n");
        if summary.is_empty() {
            let name = format!("{name}.content");
            return Err(Error::invalid(&name, format!("{name} must not be empty")));
        }
        match block.tool_changes {
            Some(changes) => {
                for (at, change) in changes.into_iter().enumerate() {
                    self.tools.change(&format!("{name}.tool_changes[{at}]"), change)?;
                }
            }
            None => self.keep_tool_changes(replaced)?,
        }
        let content = compaction::text(&summary, self.tools.take_announcement());
        self.push_text(Role::User, content);
        Ok(())
    }

    fn keep_tool_changes(&mut self, replaced: Vec<(String, Block)>) -> Result<()> {
        for (name, block) in replaced {
            if is_tool_change(&block) {
                self.tools.change(&name, block)?;
            } else if block.r#type.ends_with("tool_result") {
                for inner in block.content.map(blocks).unwrap_or_default() {
                    let found =
                        inner.tool_references.unwrap_or_default().into_iter().map(|block| block.tool_name);
                    found.chain([inner.tool_name]).flatten().for_each(|tool| self.tools.refer(&tool));
                }
            }
        }
        Ok(())
    }

    fn push_assistant(&mut self, name: &str, blocks: Vec<Block>) -> Result<()> {
        let mut turn = assistant();
        let mut server_calls: Vec<ToolCall> = Vec::new();
        let before = self.turns.len();
        for (at, block) in (self.first_block..).zip(blocks) {
            let name = format!("{name}[{at}]");
            match &*block.r#type {
                "tool_use" => turn.tool_calls.push(self.parse_call(&name, block)?),
                "server_tool_use" | "mcp_tool_use" => server_calls.push(self.parse_call(&name, block)?),
                "tool_search_tool_result" | "mcp_tool_result" => {
                    let made = |call: &ToolCall| Some(&call.id) == block.tool_use_id.as_ref();
                    if let Some(at) = server_calls.iter().position(made) {
                        turn.tool_calls.push(server_calls.remove(at));
                        self.turns.push(std::mem::replace(&mut turn, assistant()));
                        self.push_result(&name, block)?;
                    }
                }
                // The text after the results of other server tools says what they found.
                kind if kind.ends_with("_tool_result") || UNSEEN.contains(&kind) => {}
                "thinking" => {
                    let thought = block.thinking.ok_or_else(|| missing(&name, "thinking"))?;
                    turn.reasoning.get_or_insert_default().push_str(&thought);
                }
                "compaction" => self.push_summary(&name, block)?,
                _ => turn.content.push_text(&plain_text(&name, block)?),
            }
        }
        if turn != assistant() || self.turns.len() == before {
            self.turns.push(turn);
        }
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

fn assistant() -> Message {
    Message { role: Role::Assistant, ..Message::default() }
}

fn is_tool_change(block: &Block) -> bool {
    matches!(&*block.r#type, "tool_addition" | "tool_removal")
}
