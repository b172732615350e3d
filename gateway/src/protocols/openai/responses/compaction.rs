//! Compaction: a summary takes the place of the earlier answers, calls and results of a conversation. Pure, except for the module
//! [`passes`], which has the model write it.
//!
//! The summary travels in the `encrypted_content` of a `compaction` item. Where the item stands in a conversation, the model reads
//! the summary as a user message. System messages and the newest user messages before it stay.

use ipc_proto::generate::{ChatPrompt, Message, Role};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::protocols::common::summary::{self, INSTRUCTION};
use crate::protocols::openai::responses::sealed;

pub mod passes;

/// The beginning of a summary's message.
const HEAD: &str = "Summary of the conversation so far, in place of the earlier answers and results:\n\n";

/// The content of a `compaction` item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The text that the model wrote.
    pub text: String,
    /// User messages before the item stay, up to this number of bytes; the newest first.
    pub kept_bytes: usize,
    /// Whether the last user message before the item is a question that the summary does not cover.
    pub before_question: bool,
}

impl Summary {
    /// Encodes the summary as the `encrypted_content` of an item.
    pub fn seal(&self) -> String {
        // Strings, numbers and booleans always serialise.
        sealed::seal(&serde_json::to_string(self).unwrap_or_default())
    }

    /// Decodes the `encrypted_content` of an item. Returns `None` for items of other servers.
    pub fn open(content: &str) -> Option<Self> {
        serde_json::from_str(&sealed::open(content)?).ok()
    }

    /// Puts the summary in the place of the messages before it.
    pub fn apply(&self, messages: &mut Vec<Message>) {
        let question = messages.pop_if(|last| self.before_question && is_users(last));
        let mut kept = kept_messages(messages, self.kept_bytes);
        let mut at = 0;
        messages.retain(|message| {
            at += 1;
            message.role == Role::System || kept.next_if_eq(&(at - 1)).is_some()
        });
        messages.push(Message::text(Role::User, format!("{HEAD}{}", self.text)));
        messages.extend(question);
    }
}

/// Returns the indices of the newest user messages with at most `bytes` bytes together, in order.
fn kept_messages(
    messages: &[Message],
    mut bytes: usize,
) -> std::iter::Peekable<impl Iterator<Item = usize> + use<>> {
    let mut kept = Vec::new();
    for (at, message) in messages.iter().enumerate().rev().filter(|(_, message)| is_users(message)) {
        let Some(left) = bytes.checked_sub(message.content.text().len()) else { break };
        bytes = left;
        kept.push(at);
    }
    kept.into_iter().rev().peekable()
}

/// Returns the texts of the user messages that stay beside a summary with this limit, in order.
pub fn kept_texts(messages: &[Message], bytes: usize) -> Vec<String> {
    kept_messages(messages, bytes).map(|at| messages[at].content.text().into_owned()).collect()
}

/// Whether a message is the user's own, not an earlier summary.
fn is_users(message: &Message) -> bool {
    message.role == Role::User && !message.content.text().starts_with(HEAD)
}

/// Whether a conversation has anything that a summary could replace.
fn is_compactable(messages: &[Message]) -> bool {
    messages.iter().any(|message| matches!(message.role, Role::Assistant | Role::Tool))
}

/// Returns the conversation with the instruction to summarise it as its last turn.
fn ordinary_turn(chat: &ChatPrompt) -> ChatPrompt {
    let mut turn = chat.clone();
    summary::ask(&mut turn, INSTRUCTION.to_owned());
    without_thinking(turn)
}

/// Returns a conversation that asks to extend the `earlier` summary by a part of the transcript.
fn part_turn(chat: &ChatPrompt, earlier: Option<&str>, part: &str) -> ChatPrompt {
    let earlier =
        earlier.map(|text| format!("{HEAD}{text}\n\nThe conversation goes on:\n\n")).unwrap_or_default();
    let text = format!("{earlier}{part}\n\n{INSTRUCTION}");
    let mut turn = ChatPrompt { messages: Vec::new(), tools: Vec::new(), ..chat.clone() };
    summary::ask(&mut turn, text);
    without_thinking(turn)
}

/// The turn without reasoning, as far as the template allows.
fn without_thinking(chat: ChatPrompt) -> ChatPrompt {
    let own = chat.template_kwargs.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let mut kwargs: Map<String, Value> = own.unwrap_or_default();
    for name in ["enable_thinking", "thinking"] {
        kwargs.insert(name.into(), false.into());
    }
    let template_kwargs = Some(Value::Object(kwargs).to_string());
    ChatPrompt { template_kwargs, truncates: false, ..chat }
}

/// Writes a conversation without its system messages as a text.
fn transcript(messages: &[Message]) -> String {
    let mut text = String::new();
    for message in messages {
        let content = message.content.text();
        let speaker = match message.role {
            Role::System => continue,
            Role::User => "User".to_owned(),
            Role::Assistant => "Assistant".to_owned(),
            Role::Tool => format!("Result of {}", message.name.as_deref().unwrap_or("the call")),
        };
        if !content.is_empty() {
            text.push_str(&format!("{speaker}: {content}\n\n"));
        }
        for call in &message.tool_calls {
            text.push_str(&format!("Assistant calls {}: {}\n\n", call.name, call.arguments));
        }
    }
    text
}

#[cfg(test)]
mod tests;
