//! How a model writes: what it thinks, and which functions it calls. Found in its chat template, or said by whoever starts it.

use std::collections::HashSet;
use std::sync::Arc;

use ipc_proto::generate::{ChatPrompt, ToolChoice};

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
}

impl Dialect {
    /// The formats that `template` shows.
    pub fn of(template: &str, tokenizer: &Tokenizer, overrides: Overrides) -> Self {
        let format = overrides.tools.unwrap_or_else(|| Format::detect(template));
        let reasoning = overrides.reasoning.unwrap_or_else(|| ReasoningFormat::detect(template));
        let tags = reasoning.tags().into_iter().flat_map(|(open, close)| [open, close]);
        let ids = format.special().into_iter().chain(tags).filter_map(|marker| tokenizer.id(marker));
        let markers = Arc::new(ids.filter(|token| tokenizer.is_special(*token)).collect());
        Self { format, reasoning, markers }
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
