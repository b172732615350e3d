//! Parses the messages of a conversation.

use ipc_proto::generate::{Content as NeutralContent, ContentPart, Message, Role, ToolCall};
use ipc_proto::{Error, Result};
use serde_json::Value;

use crate::inference::images::join;
use crate::inference::newest_turn::{Author, refused_from};
use crate::protocols::common::checks::refuse;
use crate::protocols::common::{images, media};
use crate::protocols::openai::chat::wire as chat;
use crate::protocols::openai::chat::wire::{Called, CalledTool, Content};
use crate::protocols::openai::tools::text_input;

/// The beginning of Open WebUI's background requests for titles, tags and the like.
const TASK_PREFIX: &str = "### Task:\n";
/// The tag of the conversation in these requests.
const TASK_HISTORY: &str = "<chat_history>";

/// Whether the request is a background task of the client, such as the title of a conversation. No user waits for it.
pub fn is_background_task(messages: &[chat::Message]) -> bool {
    match messages {
        [chat::Message { role: chat::Role::User, content: Some(Content::Text(text)), .. }] => {
            text.starts_with(TASK_PREFIX) && text.contains(TASK_HISTORY)
        }
        _ => false,
    }
}

/// Parses all messages. A tool result gets its function's name from the call with the same id.
pub fn parse(messages: Vec<chat::Message>) -> Result<Vec<Message>> {
    if messages.is_empty() {
        return Err(Error::invalid("messages", "messages must not be empty"));
    }
    let authors: Vec<Author> = messages.iter().map(author).collect();
    let refused_from = refused_from(&authors);
    let mut all: Vec<Message> = Vec::with_capacity(messages.len());
    for (at, message) in messages.into_iter().enumerate() {
        let mut message = parse_message(&format!("messages[{at}]"), message, at >= refused_from)?;
        if message.role == Role::Tool && message.name.is_none() {
            let mut calls = all.iter().rev().flat_map(|message| &message.tool_calls);
            let call = calls.find(|call| Some(&call.id) == message.tool_call_id.as_ref());
            message.name = call.map(|call| call.name.clone());
        }
        all.push(message);
    }
    images::check_count(&all)?;
    Ok(all)
}

fn author(message: &chat::Message) -> Author {
    match message.role {
        chat::Role::User => Author::User,
        chat::Role::Assistant => Author::Assistant,
        chat::Role::Tool | chat::Role::Function => Author::Tool,
        chat::Role::System | chat::Role::Developer => Author::Other,
    }
}

/// Parses one message. `refuses_media` holds in the newest turn.
fn parse_message(path: &str, message: chat::Message, refuses_media: bool) -> Result<Message> {
    let role = match message.role {
        chat::Role::System | chat::Role::Developer => Role::System,
        chat::Role::User => Role::User,
        chat::Role::Assistant => Role::Assistant,
        chat::Role::Tool | chat::Role::Function => Role::Tool,
    };
    refuse(&format!("{path}.audio"), &message.audio, &[])?;
    let reasoning = message.reasoning_content.or(message.reasoning).or(message.thinking);
    // A refusal is the whole content of its message.
    let content = match message.content.or(message.refusal.map(Content::Text)) {
        Some(Content::Text(text)) => text.into(),
        Some(Content::Parts(parts)) => {
            let read = |(n, part)| read_part(&format!("{path}.content[{n}]"), part, refuses_media);
            let parts = parts.into_iter().enumerate().map(read).collect::<Result<Vec<_>>>()?;
            // The parts of a result are values of their own, such as the elements of a list.
            join(parts, if role == Role::Tool { "\n" } else { "" })
        }
        None if role == Role::Assistant => NeutralContent::default(),
        None => {
            let name = format!("{path}.content");
            return Err(Error::invalid(&name, format!("{name} is missing")));
        }
    };
    let call_fields = [
        ("tool_calls", message.tool_calls.as_ref().is_some_and(|calls| !calls.is_empty())),
        ("function_call", message.function_call.is_some()),
    ];
    if role != Role::Assistant
        && let Some((field, _)) = call_fields.iter().find(|(_, is_set)| *is_set)
    {
        let name = format!("{path}.{field}");
        return Err(Error::invalid(&name, format!("{name} is only allowed in the assistant's turns")));
    }
    let mut tool_calls = Vec::new();
    for (n, call) in message.tool_calls.unwrap_or_default().into_iter().enumerate() {
        tool_calls.push(parse_call(&format!("{path}.tool_calls[{n}]"), call)?);
    }
    if role == Role::Tool {
        return Ok(Message::result(message.tool_call_id, message.name, content));
    }
    // The deprecated form has no ids. Its results name the function.
    tool_calls.extend(message.function_call.map(|call| to_tool_call(String::new(), call)));
    Ok(Message {
        role,
        content,
        name: message.name,
        reasoning: reasoning.filter(|text| !text.is_empty()),
        tool_calls,
        tool_call_id: message.tool_call_id,
    })
}

fn parse_call(path: &str, call: CalledTool) -> Result<ToolCall> {
    let missing =
        |field: &str| Error::invalid(format!("{path}.{field}"), format!("{path}.{field} is missing"));
    let id = call.id.unwrap_or_default();
    match call.r#type.as_deref() {
        None | Some("function") => Ok(to_tool_call(id, call.function.ok_or_else(|| missing("function"))?)),
        Some("custom") => {
            let called = call.custom.ok_or_else(|| missing("custom"))?;
            Ok(ToolCall { id, name: called.name, arguments: text_input::arguments(&called.input) })
        }
        Some(kind) => {
            let name = format!("{path}.type");
            let text = format!("{name}: \"{kind}\" is neither \"function\" nor \"custom\"");
            Err(Error::invalid(&name, text))
        }
    }
}

fn to_tool_call(id: String, call: Called) -> ToolCall {
    let arguments = match call.arguments {
        Value::Null => "{}".to_owned(),
        Value::String(text) if text.trim().is_empty() => "{}".to_owned(),
        Value::String(text) => text,
        // Some clients send parsed arguments.
        other => other.to_string(),
    };
    ToolCall { id, name: call.name, arguments }
}

fn read_part(path: &str, part: chat::Part, refuses_media: bool) -> Result<ContentPart> {
    let (field, text) = match &*part.r#type {
        "text" => ("text", part.text),
        "refusal" => ("refusal", part.refusal),
        "image_url" | "input_image" => {
            let name = format!("{path}.image_url");
            let image = images::from_value(&name, &part.image_url.unwrap_or_default(), None);
            return images::part(image, refuses_media);
        }
        other => {
            let name = format!("{path}.type");
            if let Some(medium) = media::medium(other) {
                return images::other_part(&name, medium, refuses_media);
            }
            return Err(Error::invalid(
                &name,
                format!("{name}: \"{other}\" is not supported, only \"text\" and \"image_url\""),
            ));
        }
    };
    let name = format!("{path}.{field}");
    text.map(ContentPart::Text).ok_or_else(|| Error::invalid(&name, format!("{name} is missing")))
}

#[cfg(test)]
mod tests;
