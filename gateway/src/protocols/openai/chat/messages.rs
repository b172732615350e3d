//! Checks the turns of a conversation.

use ipc_proto::generate::{Message, Role, ToolCall};
use ipc_proto::{Error, Result};
use serde_json::Value;

use crate::protocols::common::checks::refuse;
use crate::protocols::openai::chat::wire as chat;
use crate::protocols::openai::chat::wire::{Called, CalledTool, Content};

/// How Open WebUI's requests of its own begin: for titles, tags and the like.
const TASK: &str = "### Task:\n";
/// What they show of the conversation that they are about.
const HISTORY: &str = "<chat_history>";

/// Whether nobody waits for the answer: a client makes something of its own of it, after the conversation.
pub fn is_background_task(messages: &[chat::Message]) -> bool {
    match messages {
        [chat::Message { role: chat::Role::User, content: Some(Content::Text(text)), .. }] => {
            text.starts_with(TASK) && text.contains(HISTORY)
        }
        _ => false,
    }
}

/// All turns; results of functions learn their function's name where a call says it.
pub fn parse(messages: Vec<chat::Message>) -> Result<Vec<Message>> {
    if messages.is_empty() {
        return Err(Error::invalid("messages", "messages must not be empty"));
    }
    let mut all: Vec<Message> = Vec::with_capacity(messages.len());
    for (at, message) in messages.into_iter().enumerate() {
        let mut message = turn(&format!("messages[{at}]"), message)?;
        if message.role == Role::Tool && message.name.is_none() {
            let mut calls = all.iter().rev().flat_map(|message| &message.tool_calls);
            let call = calls.find(|call| Some(&call.id) == message.tool_call_id.as_ref());
            message.name = call.map(|call| call.name.clone());
        }
        all.push(message);
    }
    Ok(all)
}

fn turn(path: &str, message: chat::Message) -> Result<Message> {
    let role = match message.role {
        chat::Role::System | chat::Role::Developer => Role::System,
        chat::Role::User => Role::User,
        chat::Role::Assistant => Role::Assistant,
        chat::Role::Tool | chat::Role::Function => Role::Tool,
    };
    refuse(&format!("{path}.audio"), &message.audio, &[])?;
    let reasoning = message.reasoning_content.or(message.reasoning).or(message.thinking);
    // What a model would not say was all it said.
    let content = match message.content.or(message.refusal.map(Content::Text)) {
        Some(Content::Text(text)) => text,
        Some(Content::Parts(parts)) => {
            let texts = parts.into_iter().enumerate().map(|(n, part)| text_of(path, n, part));
            texts.collect::<Result<Vec<_>>>()?.concat()
        }
        None if role == Role::Assistant => String::new(),
        None => {
            let name = format!("{path}.content");
            return Err(Error::invalid(&name, format!("{name} is missing")));
        }
    };
    let only_assistant = |field: &str, there: bool| match there && role != Role::Assistant {
        true => {
            let name = format!("{path}.{field}");
            Err(Error::invalid(&name, format!("{name} is only allowed in the assistant's turns")))
        }
        false => Ok(()),
    };
    only_assistant("tool_calls", message.tool_calls.as_ref().is_some_and(|calls| !calls.is_empty()))?;
    only_assistant("function_call", message.function_call.is_some())?;
    let mut calls = message.tool_calls.unwrap_or_default().into_iter().enumerate();
    let mut tool_calls = calls.try_fold(Vec::new(), |mut all, (n, call)| {
        all.push(called(&format!("{path}.tool_calls[{n}]"), call)?);
        Ok(all)
    })?;
    if role == Role::Tool {
        return Ok(Message::result(message.tool_call_id, message.name, content));
    }
    // The old form has no ids; its results name the function.
    tool_calls.extend(message.function_call.map(|call| call_of(String::new(), call)));
    Ok(Message {
        role,
        content: content.into(),
        name: message.name,
        reasoning: reasoning.filter(|text| !text.is_empty()),
        tool_calls,
        tool_call_id: message.tool_call_id,
    })
}

fn called(path: &str, call: CalledTool) -> Result<ToolCall> {
    if let Some(kind) = call.r#type.as_deref().filter(|kind| *kind != "function") {
        let name = format!("{path}.type");
        return Err(Error::invalid(&name, format!("{name}: \"{kind}\" is not supported, only \"function\"")));
    }
    let missing = || Error::invalid(format!("{path}.function"), format!("{path}.function is missing"));
    Ok(call_of(call.id.unwrap_or_default(), call.function.ok_or_else(missing)?))
}

fn call_of(id: String, call: Called) -> ToolCall {
    let arguments = match call.arguments {
        Value::Null => "{}".to_owned(),
        Value::String(text) if text.trim().is_empty() => "{}".to_owned(),
        Value::String(text) => text,
        // Some clients send what they have parsed.
        other => other.to_string(),
    };
    ToolCall { id, name: call.name, arguments }
}

fn text_of(path: &str, n: usize, part: chat::Part) -> Result<String> {
    let (field, text) = match &*part.r#type {
        "text" => ("text", part.text),
        "refusal" => ("refusal", part.refusal),
        other => {
            let name = format!("{path}.content[{n}].type");
            return Err(Error::invalid(
                &name,
                format!("{name}: \"{other}\" is not supported, only \"text\""),
            ));
        }
    };
    let name = format!("{path}.content[{n}].{field}");
    text.ok_or_else(|| Error::invalid(&name, format!("{name} is missing")))
}

#[cfg(test)]
mod tests;
