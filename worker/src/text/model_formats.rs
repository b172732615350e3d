//! How a model writes: what it thinks, and which functions it calls. Found in its chat template, or said by whoever starts it.

use std::collections::HashSet;
use std::sync::Arc;

use chat_template::{Purpose, Templates};
use clap::ValueEnum;
use ipc_proto::generate::{ChatPrompt, ToolChoice};
use ipc_proto::prompt::FormatUse;

use super::reading::Manner;
use super::reasoning::ReasoningFormat;
use super::tokenizer::Tokenizer;
use super::tool_parser::{Format, Known};

/// Formats that are not to be taken from the template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::Args)]
pub struct Overrides {
    /// How the model writes function calls [default: as its chat template shows].
    #[arg(long = "tool-format", value_name = "FORMAT", value_enum)]
    pub tools: Option<Format>,
    /// How the model marks its reasoning [default: as its chat template shows].
    #[arg(long = "reasoning-format", value_name = "FORMAT", value_enum)]
    pub reasoning: Option<ReasoningFormat>,
    /// Read control tokens in clients' text as text where a request does not say otherwise.
    #[arg(long)]
    pub sanitize_control_tokens: bool,
}

/// A model's formats.
#[derive(Debug, Clone)]
pub struct Dialect {
    /// Of calls.
    pub format: Format,
    /// Of reasoning.
    pub reasoning: ReasoningFormat,
    /// Special tokens that mark either.
    pub markers: Arc<HashSet<u32>>,
    /// The format of calls, and why it is that.
    pub format_use: FormatUse,
    /// The format of reasoning, and why it is that.
    pub reasoning_use: FormatUse,
}

impl Dialect {
    /// The formats that a model's templates show.
    pub fn of(templates: &Templates, tokenizer: &Tokenizer, overrides: Overrides) -> Self {
        let text = |purpose| templates.text(purpose).unwrap_or_default();
        let (shown, evidence) = Format::detect_with_evidence(text(Purpose::Tools));
        let format = overrides.tools.unwrap_or(shown);
        let format_use = format_use_of(&format, overrides.tools.is_some(), evidence);
        let (shown, evidence) = ReasoningFormat::detect_with_evidence(text(Purpose::Chat));
        let reasoning = overrides.reasoning.unwrap_or(shown);
        let reasoning_use = format_use_of(&reasoning, overrides.reasoning.is_some(), evidence.as_slice());
        let tags = reasoning.tags().into_iter().flat_map(|(open, close)| [open, close]);
        let ids = format.special().into_iter().chain(tags).filter_map(|marker| tokenizer.id(marker));
        let markers = Arc::new(ids.filter(|token| tokenizer.is_special(*token)).collect());
        Self { format, reasoning, markers, format_use, reasoning_use }
    }

    /// What closes a model's reasoning so that it goes on to answer: the first time, and where it thinks again. Empty where it
    /// does not think.
    pub fn closings(&self, manner: &Manner) -> Vec<String> {
        const FINAL: &str = "<|end|><|start|>assistant<|channel|>final<|message|>";
        match (manner.format, manner.reasoning.tags()) {
            _ if manner.answering => Vec::new(),
            // It may still call a function.
            (Format::Harmony, _) if manner.tools.is_some() => {
                vec!["<|end|><|start|>assistant".into(), FINAL.into()]
            }
            (Format::Harmony, _) => vec![FINAL.into()],
            (_, Some((_, close))) => vec![format!("\n{close}\n\n")],
            (_, None) => Vec::new(),
        }
    }

    /// How the output after a conversation is read, which was rendered as `prompt`.
    pub fn manner(&self, chat: &ChatPrompt, prompt: &str) -> Manner {
        let called = !chat.tools.is_empty() && chat.tool_choice != ToolChoice::None;
        let single = !chat.parallel_calls || matches!(chat.tool_choice, ToolChoice::Named(_));
        let begun = chat.messages.last().filter(|_| chat.continues).map(|last| &*last.content);
        let (end, tags) = (prompt.trim_end(), self.reasoning.tags());
        let open = tags.is_some_and(|(open, close)| match begun {
            Some(text) => text.rfind(open) > text.rfind(close),
            None => end.ends_with(open),
        });
        Manner {
            reasoning: self.reasoning,
            open,
            thought: tags.is_some_and(|(_, close)| end.ends_with(close)),
            answering: begun.is_some() && !open,
            format: self.format,
            tools: called.then(|| Known::of(&chat.tools)),
            single,
        }
    }
}

fn format_use_of(format: &impl ValueEnum, is_set: bool, evidence: &[&str]) -> FormatUse {
    let name = format.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let quoted: Vec<String> = evidence.iter().map(|text| format!("{text:?}")).collect();
    let reason = match (is_set, &quoted[..]) {
        (true, _) => "the model's settings say so".to_owned(),
        (false, []) => "the chat template shows none, so this is the default".to_owned(),
        (false, shown) => format!("the chat template has {}", shown.join(" and ")),
    };
    FormatUse { name, reason }
}
