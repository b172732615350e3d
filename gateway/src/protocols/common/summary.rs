//! The turn in which the model summarises a conversation. Pure.

use ipc_proto::generate::{ChatPrompt, Message, Role, ToolChanges, ToolChoice};

/// The instruction for a summary, unless the client sends its own.
pub const INSTRUCTION: &str = "Summarise the conversation above, so that it can go on without its earlier messages. Write down what \
    the user wants, with the newest request in the user's own words; what was done and found so far; the files, functions and \
    commands that matter; decisions with their reasons; names, numbers and errors; and the next steps. Use the language of the \
    conversation. Call no functions. Answer with the summary only.";

/// Appends the instruction. The tools stay listed, so that the prompt before it is cached, and none can be called.
pub fn ask(chat: &mut ChatPrompt, instruction: String) {
    chat.messages.push(Message::text(Role::User, instruction));
    chat.continues = false;
    chat.tool_choice = ToolChoice::Auto;
    let withdrawn = chat.tools.iter().map(|tool| tool.name.clone()).collect();
    chat.tool_changes = ToolChanges { added: Vec::new(), withdrawn };
}
