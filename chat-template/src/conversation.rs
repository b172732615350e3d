//! Rewrites a conversation for templates that refuse its original form. Pure.

use std::fmt;

use ipc_proto::generate::{Message, Role, Tool};
use serde_json::{Value, json};

/// A change to a conversation that its template requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Adaptation {
    /// The template does not support tools.
    ToolsAsText,
    /// The template does not support documents.
    DocumentsAsText,
    /// The template writes one call per turn.
    OneCallPerTurn,
    /// The template refuses or drops system messages after the beginning.
    LaterSystemAsUser,
    /// The template refuses or drops system messages.
    SystemInFirstUserTurn,
    /// The template requires alternating roles.
    TurnsMerged,
    /// The template refuses arguments as objects.
    ArgumentsAsText,
    /// The template refuses an empty content beside calls.
    EmptyContentOmitted,
    /// The template refuses reasoning beside text and calls.
    ThinkingOmitted,
    /// The template reads descriptions or types that tools lack.
    ToolsCompleted,
}

impl fmt::Display for Adaptation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ToolsAsText => {
                "the template has no tools: tools, calls and results are text in Hermes' form"
            }
            Self::DocumentsAsText => "the template has no documents: they are text in the system message",
            Self::OneCallPerTurn => "the template writes one call a turn: turns with several calls are split",
            Self::LaterSystemAsUser => {
                "the template takes system messages at the beginning only: later ones are user turns"
            }
            Self::SystemInFirstUserTurn => {
                "the template has no system messages: the first user turn begins with them"
            }
            Self::TurnsMerged => {
                "the template wants alternating roles: consecutive turns of one role are merged"
            }
            Self::ArgumentsAsText => "the template takes arguments of calls as JSON text",
            Self::EmptyContentOmitted => "the template refuses empty content: turns that only call have none",
            Self::ThinkingOmitted => {
                "the template refuses reasoning beside text and calls: it is left out there"
            }
            Self::ToolsCompleted => {
                "the template reads descriptions and types that some tools lack: they were added"
            }
        })
    }
}

/// Splits turns with several calls into several turns, each followed by its own results.
pub(crate) fn one_call_per_turn(messages: Vec<Message>) -> Vec<Message> {
    let mut all = Vec::with_capacity(messages.len());
    let mut rest = messages.into_iter().peekable();
    while let Some(mut message) = rest.next() {
        if message.tool_calls.len() < 2 {
            all.push(message);
            continue;
        }
        let calls = std::mem::take(&mut message.tool_calls);
        let mut results = Vec::new();
        while let Some(result) = rest.next_if(|next| next.role == Role::Tool) {
            results.push(result);
        }
        // Reasoning and text come before the first call.
        let mut turn = message;
        for call in calls {
            let id = call.id.clone();
            all.push(Message { tool_calls: vec![call], ..std::mem::replace(&mut turn, assistant()) });
            let own = |result: &Message| result.tool_call_id.as_ref().is_none_or(|answered| *answered == id);
            if let Some(at) = results.iter().position(own) {
                all.push(results.remove(at));
            }
        }
        all.extend(results);
    }
    all
}

fn assistant() -> Message {
    Message { role: Role::Assistant, ..Message::default() }
}

/// Turns system messages after the beginning into user messages. In their places they leave the prompt before them as it was, so its
/// blocks stay cached.
pub(crate) fn later_system_as_user(messages: &[Message]) -> Vec<Message> {
    let leading = messages.iter().take_while(|message| message.role == Role::System).count();
    let mut messages = messages.to_vec();
    for message in messages[leading..].iter_mut().filter(|message| message.role == Role::System) {
        message.role = Role::User;
    }
    messages
}

/// Moves the system messages at the beginning into the first user message. Later ones become user messages.
pub(crate) fn fold_system_messages(messages: &[Message]) -> Vec<Message> {
    let (system, mut rest): (Vec<Message>, Vec<Message>) =
        later_system_as_user(messages).into_iter().partition(|message| message.role == Role::System);
    if system.is_empty() {
        return rest;
    }
    let system = system.iter().map(|message| message.content.text()).collect::<Vec<_>>().join("\n\n");
    match rest.iter_mut().find(|message| message.role == Role::User) {
        Some(first) => first.content.prepend_text(&format!("{system}\n\n")),
        None => rest.insert(0, Message::text(Role::User, system)),
    }
    rest
}

/// Merges consecutive messages of one role.
pub(crate) fn merge_turns(messages: &[Message]) -> Vec<Message> {
    let mut all: Vec<Message> = Vec::with_capacity(messages.len());
    for message in messages {
        match all.last_mut() {
            Some(last)
                if last.role == message.role && last.role != Role::Tool && last.tool_calls.is_empty() =>
            {
                if !last.content.is_empty() && !message.content.is_empty() {
                    last.content.push_text("\n\n");
                }
                last.content.append(&message.content);
                last.tool_calls.clone_from(&message.tool_calls);
            }
            _ => all.push(message.clone()),
        }
    }
    all
}

/// Writes tools, calls and results as text in Hermes' form, for templates without tool support.
pub(crate) fn tools_as_text(messages: &[Message], tools: &[Tool]) -> Vec<Message> {
    let mut all: Vec<Message> = messages.iter().map(message_as_text).collect();
    if !tools.is_empty() {
        let instructions = instructions(tools);
        match all.first_mut().filter(|first| first.role == Role::System) {
            Some(system) => system.content.push_text(&format!("\n\n{instructions}")),
            None => all.insert(0, Message::text(Role::System, instructions)),
        }
    }
    all
}

/// Writes documents into the system message, for templates without document support.
pub(crate) fn documents_as_text(mut messages: Vec<Message>, documents: &[Value]) -> Vec<Message> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let one = |document: &Value| {
        let title = document.get("title").map(|title| format!("Title: {}\n", text(title)));
        let body = document.get("text").or_else(|| document.get("content")).unwrap_or(document);
        format!("<document>\n{}{}\n</document>", title.unwrap_or_default(), text(body))
    };
    let all = documents.iter().map(one).collect::<Vec<_>>().join("\n");
    if documents.is_empty() {
        return messages;
    }
    let all = format!("# Documents\n\nThe answer may draw on these documents.\n\n{all}");
    match messages.first_mut().filter(|first| first.role == Role::System) {
        Some(system) => system.content.push_text(&format!("\n\n{all}")),
        None => messages.insert(0, Message::text(Role::System, all)),
    }
    messages
}

fn message_as_text(message: &Message) -> Message {
    if message.role == Role::Tool {
        let mut content = message.content.clone();
        content.prepend_text("<tool_response>\n");
        content.push_text("\n</tool_response>");
        return Message::text(Role::User, content);
    }
    let mut message = message.clone();
    for call in std::mem::take(&mut message.tool_calls) {
        let arguments = super::values::arguments(&call.arguments);
        let call = json!({"name": call.name, "arguments": arguments});
        let gap = if message.content.is_empty() { "" } else { "\n" };
        message.content.push_text(&format!("{gap}<tool_call>\n{call}\n</tool_call>"));
    }
    message
}

fn instructions(tools: &[Tool]) -> String {
    let tools = tools
        .iter()
        .map(|tool| super::values::tool_with_parameters(tool).to_string())
        .collect::<Vec<_>>()
        .join("\n");
    format!(
        "# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are provided with function \
         signatures within <tools></tools> XML tags:\n<tools>\n{tools}\n</tools>\n\nFor each function call, return a json \
         object with function name and arguments within <tool_call></tool_call> XML tags:\n<tool_call>\n{{\"name\": \
         <function-name>, \"arguments\": <args-json-object>}}\n</tool_call>"
    )
}
