//! A model's formats of reasoning and of function calls, detected in its chat template or set by its settings.

use std::collections::HashSet;
use std::sync::Arc;

use chat_template::{Purpose, Templates};
use clap::ValueEnum;
use ipc_proto::generate::{ChatPrompt, ToolChoice};
use ipc_proto::prompt::FormatUse;

use super::output_parser::OutputFormat;
use super::reasoning::ReasoningFormat;
use super::tokenizer::Tokenizer;
use super::tool_parser::ToolFormat;
use super::tool_parser::functions::Functions;

/// Settings that take precedence over the template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::Args)]
pub struct Overrides {
    /// How the model writes function calls [default: as its chat template shows].
    #[arg(long = "tool-format", value_name = "FORMAT", value_enum)]
    pub tools: Option<ToolFormat>,
    /// How the model marks its reasoning [default: as its chat template shows].
    #[arg(long = "reasoning-format", value_name = "FORMAT", value_enum)]
    pub reasoning: Option<ReasoningFormat>,
    /// Read control tokens in clients' text as text where a request does not say otherwise.
    #[arg(long)]
    pub sanitize_control_tokens: bool,
}

/// A model's formats.
#[derive(Debug, Clone)]
pub struct ModelFormats {
    /// The format of function calls.
    pub tools: ToolFormat,
    /// The format of reasoning.
    pub reasoning: ReasoningFormat,
    /// Special tokens that either format uses. The detokenizer must keep them.
    pub markers: Arc<HashSet<u32>>,
    /// The name of the tool format, and the reason for it.
    pub format_use: FormatUse,
    /// The name of the reasoning format, and the reason for it.
    pub reasoning_use: FormatUse,
}

impl ModelFormats {
    /// Detects the formats in a model's templates. `overrides` take precedence.
    pub fn detect(templates: &Templates, tokenizer: &Tokenizer, overrides: Overrides) -> Self {
        let text = |purpose| templates.text(purpose).unwrap_or_default();
        let (detected, evidence) = ToolFormat::detect_with_evidence(text(Purpose::Tools));
        let tools = overrides.tools.unwrap_or(detected);
        let format_use = explain(&tools, overrides.tools.is_some(), evidence);
        let (detected, evidence) = ReasoningFormat::detect_with_evidence(text(Purpose::Chat));
        let reasoning = overrides.reasoning.unwrap_or(detected);
        let reasoning_use = explain(&reasoning, overrides.reasoning.is_some(), evidence.as_slice());
        let markers = tools.special_markers().into_iter().chain(reasoning.special_markers());
        let ids = markers.filter_map(|marker| tokenizer.id(marker));
        let markers = Arc::new(ids.filter(|token| tokenizer.is_special(*token)).collect());
        Self { tools, reasoning, markers, format_use, reasoning_use }
    }

    /// Texts that end the reasoning so that the model goes on to answer. The first applies the first time, the last whenever
    /// the model reasons again. Empty if the output holds no reasoning.
    pub fn reasoning_endings(&self, output_format: &OutputFormat) -> Vec<String> {
        const FINAL: &str = "<|end|><|start|>assistant<|channel|>final<|message|>";
        if output_format.in_answer {
            return Vec::new();
        }
        match (output_format.tool_format, output_format.reasoning.tags()) {
            // The model may still call a function.
            (ToolFormat::Harmony, _) if output_format.functions.is_some() => {
                vec!["<|end|><|start|>assistant".into(), FINAL.into()]
            }
            (ToolFormat::Harmony, _) => vec![FINAL.into()],
            (_, Some((_, close))) => vec![format!("\n{close}\n\n")],
            (_, None) => Vec::new(),
        }
    }

    /// The format of the output that follows `prompt`, the rendered `chat`.
    pub fn output_format(&self, chat: &ChatPrompt, prompt: &str) -> OutputFormat {
        let tools = chat.callable_tools();
        let may_call = !tools.is_empty() && chat.tool_choice != ToolChoice::None;
        let single_call = !chat.parallel_calls || matches!(chat.tool_choice, ToolChoice::Named(_));
        let continued = chat.messages.last().filter(|_| chat.continues).map(|last| last.content.text());
        let (end, tags) = (prompt.trim_end(), self.reasoning.tags());
        let reasoning_open = tags.is_some_and(|(open, close)| match &continued {
            Some(text) => text.rfind(open) > text.rfind(close),
            None => end.ends_with(open),
        });
        OutputFormat {
            reasoning: self.reasoning,
            reasoning_open,
            reasoning_closed: tags.is_some_and(|(_, close)| end.ends_with(close)),
            in_answer: continued.is_some() && !reasoning_open,
            tool_format: self.tools,
            functions: may_call.then(|| Functions::from_tools(&tools)),
            single_call,
            constrained: false,
        }
    }
}

fn explain(format: &impl ValueEnum, is_set: bool, evidence: &[&str]) -> FormatUse {
    let name = format.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let reason = if is_set {
        "the model's settings say so".to_owned()
    } else if evidence.is_empty() {
        "the chat template shows none, so this is the default".to_owned()
    } else {
        let quoted: Vec<String> = evidence.iter().map(|text| format!("{text:?}")).collect();
        format!("the chat template has {}", quoted.join(" and "))
    };
    FormatUse { name, reason }
}

#[cfg(test)]
mod tests {
    use ipc_proto::formats;

    use super::*;

    fn names<T: ValueEnum>() -> Vec<String> {
        let values = T::value_variants().iter().filter_map(ValueEnum::to_possible_value);
        values.map(|value| value.get_name().to_owned()).collect()
    }

    #[test]
    fn settings_know_the_same_formats() {
        assert_eq!(names::<ToolFormat>(), formats::TOOLS);
        assert_eq!(names::<ReasoningFormat>(), formats::REASONING);
    }
}
