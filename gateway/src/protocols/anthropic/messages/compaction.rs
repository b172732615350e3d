//! Compactions: a summary that the model writes replaces the conversation. Pure.

use ipc_proto::generate::{ChatPrompt, FinishReason, Message, Prompt, Role, ToolChanges};
use ipc_proto::{Error, Result};

use crate::inference::output::CompleteOutput;
use crate::inference::request::InferenceRequest;
use crate::protocols::anthropic::messages::tools;
use crate::protocols::anthropic::messages::wire::Compaction;
use crate::protocols::common::summary::{self, INSTRUCTION};

/// Maximum number of tokens of a summary within another request.
pub(super) const MAX_SUMMARY_TOKENS: u32 = 8192;

/// A compaction that happens when the prompt has reached a number of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutoCompaction {
    /// Tokens of the prompt.
    pub trigger: u32,
    /// Whether the answer ends after the summary.
    pub pause: bool,
    /// More instructions for the summary.
    pub instructions: Option<String>,
}

/// Changes `request` so that the model summarises its conversation.
pub(super) fn make_request(asked: &AutoCompaction, request: &mut InferenceRequest) {
    let generation = &mut request.generation;
    (generation.stop, generation.constraint) = (Vec::new(), None);
    let more = asked.instructions.iter().filter(|text| !text.trim().is_empty());
    let text = std::iter::once(INSTRUCTION).chain(more.map(String::as_str)).collect::<Vec<_>>().join("\n\n");
    if let Prompt::Chat(prompt) = &mut generation.prompt {
        summary::ask(prompt, text);
    }
}

/// Changes `prompt` as the parameter `compaction` asks. Its instructions replace the default ones.
///
/// # Errors
/// Returns an error that names the invalid field, or if there is nothing to summarise.
pub(super) fn ask(compaction: &Compaction, prompt: &mut ChatPrompt) -> Result<()> {
    if compaction.r#type != "summarize" {
        return Err(Error::invalid("compaction.type", "compaction.type must be \"summarize\""));
    }
    if prompt.messages.iter().all(|message| message.role == Role::System) {
        return Err(Error::invalid("messages", "messages: there is nothing to summarise"));
    }
    let own = compaction.instructions.as_deref().filter(|text| !text.trim().is_empty());
    summary::ask(prompt, own.unwrap_or(INSTRUCTION).to_owned());
    Ok(())
}

/// Returns the summary in an output, or `None` if there is no complete one.
pub(super) fn summary(text: &str, reason: FinishReason) -> Option<String> {
    let inner = text.split_once("<summary>").map_or(text, |(_, rest)| rest);
    let inner = inner.split_once("</summary>").map_or(inner, |(inner, _)| inner).trim();
    (reason != FinishReason::Length && !inner.is_empty()).then(|| inner.to_owned())
}

/// Returns the summary in a complete output.
pub(super) fn summary_of(whole: &CompleteOutput) -> Option<String> {
    summary(&whole.output.text(), whole.reason)
}

/// Replaces the conversation by its summary. The system messages at its beginning stay, and so do the tools.
pub(super) fn replace(prompt: &mut ChatPrompt, summary: &str) {
    let system = prompt.messages.iter().take_while(|message| message.role == Role::System).count();
    let ToolChanges { added, withdrawn } = &prompt.tool_changes;
    let gone = withdrawn.iter().filter(|name| !added.iter().any(|tool| tool.name == **name)).cloned();
    let content = text(summary, tools::announce(added, gone.collect()));
    prompt.messages.truncate(system);
    prompt.messages.push(Message::text(Role::User, content));
    prompt.continues = false;
}

/// Returns the text that stands for the replaced messages, with the changes of the tools in them.
pub(super) fn text(summary: &str, tool_changes: Option<String>) -> String {
    let summary = format!(
        "The earlier part of this conversation was replaced by this summary:\n<summary>\n{summary}\n</summary>"
    );
    match tool_changes {
        Some(changes) => format!("{summary}\n\n{changes}"),
        None => summary,
    }
}

#[cfg(test)]
mod tests {
    use ipc_proto::generate::{Tool, ToolChoice};
    use serde_json::json;

    use super::*;
    use crate::protocols::anthropic::messages::parse::parse;

    fn prompt() -> ChatPrompt {
        let tool = |name: &str| Tool { name: name.into(), ..Tool::default() };
        let turns = [(Role::System, "s"), (Role::User, "a"), (Role::Assistant, "b")];
        ChatPrompt {
            messages: turns.map(|(role, text)| Message::text(role, text)).into(),
            tools: vec![tool("f"), tool("g")],
            tool_changes: ToolChanges { added: vec![tool("late")], withdrawn: vec!["f".into()] },
            tool_choice: ToolChoice::Required,
            continues: true,
            ..ChatPrompt::default()
        }
    }

    #[test]
    fn request_for_a_summary_keeps_the_prompt_and_allows_no_calls() {
        let before = prompt();
        let auto = AutoCompaction { trigger: 1, pause: false, instructions: Some("In French.".into()) };
        let body = json!({"model": "m", "max_tokens": 9, "stop_sequences": ["x"], "messages": [{"role": "user", "content": "a"}]});
        let mut request = parse(serde_json::from_value(body).unwrap()).unwrap().request;
        request.generation.prompt = Prompt::Chat(prompt());
        make_request(&auto, &mut request);
        assert!(request.generation.stop.is_empty());
        let Prompt::Chat(asked) = request.generation.prompt else { panic!("no chat") };
        assert_eq!((&asked.messages[..3], &asked.tools), (&before.messages[..], &before.tools));
        assert!(asked.messages[3].content.text().ends_with("\n\nIn French."));
        assert!(asked.callable_tools().is_empty() && !asked.continues);
    }

    #[test]
    fn instructions_of_the_parameter_replace_the_default() {
        let asked = |instructions: Option<&str>| {
            let mut prompt = prompt();
            let instructions = instructions.map(str::to_owned);
            ask(&Compaction { r#type: "summarize".into(), instructions }, &mut prompt).unwrap();
            prompt.messages[3].content.text().into_owned()
        };
        assert_eq!(
            (&*asked(Some("Be short.")), &*asked(Some(" ")), &*asked(None)),
            ("Be short.", INSTRUCTION, INSTRUCTION)
        );
    }

    #[test]
    fn summary_is_the_text_of_a_complete_output() {
        for (text, reason, wanted) in [
            ("a", FinishReason::Stop, Some("a")),
            ("Here:\n<summary>\na\n</summary>\n", FinishReason::Stop, Some("a")),
            (" ", FinishReason::Stop, None),
            ("a", FinishReason::Length, None),
        ] {
            assert_eq!(summary(text, reason).as_deref(), wanted, "{text:?}");
        }
    }

    #[test]
    fn summary_replaces_all_but_the_system_messages() {
        let mut prompt = prompt();
        replace(&mut prompt, "x");
        assert_eq!((prompt.messages.len(), prompt.messages[0].role), (2, Role::System));
        let text = prompt.messages[1].content.text();
        assert!(
            text.contains("<summary>\nx\n</summary>\n\nThese functions can be called from here on:"),
            "{text}"
        );
        assert!(text.ends_with("These functions can no longer be called: f"), "{text}");
        assert_eq!(prompt.callable_tools().len(), 2);
    }
}
