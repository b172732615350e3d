//! Rendered and tokenised prompts.

use serde::{Deserialize, Serialize};

use crate::generate::Prompt;

/// A prompt as the model receives it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RenderedPrompt {
    /// The text; for a prompt of token ids, the decoded text.
    pub text: String,
    /// The token ids.
    pub tokens: Vec<u32>,
    /// The maximum of prompt and output together, in tokens, for the model and its KV pool.
    pub max_context: u32,
    /// The use of the chat template; `None` if the prompt is no conversation.
    pub template: Option<TemplateUse>,
}

/// The use of a chat template.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TemplateUse {
    /// The template's name: `default`, `tool_use`, `rag` or another name in the model folder.
    pub name: String,
    /// The template's file, relative to the model folder.
    pub file: String,
    /// The changes to the conversation that the template needed, one sentence each.
    pub adaptations: Vec<String>,
    /// The format of calls in the output.
    pub tool_format: FormatUse,
    /// The format of reasoning in the output.
    pub reasoning_format: FormatUse,
    /// The number of control tokens in the client's text that are tokenised as plain text.
    pub sanitized: u32,
}

/// A format and the reason of its choice.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FormatUse {
    /// The name, a value of `mlxd-worker --tool-format` or `--reasoning-format`.
    pub name: String,
    /// The reason of the choice.
    pub reason: String,
}

/// A text to tokenise, or a prompt to render and tokenise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenizeRequest {
    /// The text or prompt.
    pub prompt: Prompt,
    /// Whether to add the tokens that the tokenizer puts around a plain text (BOS).
    pub add_special: bool,
    /// Whether to parse control tokens in a plain text as such.
    pub parse_special: bool,
    /// Whether to return the text of each token.
    pub pieces: bool,
}

/// Token ids.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tokenized {
    /// The token ids in order.
    pub tokens: Vec<u32>,
    /// The bytes of each token, if requested. They need not be complete characters.
    pub pieces: Vec<Vec<u8>>,
    /// The maximum of prompt and output together, in tokens, for the model and its KV pool.
    pub max_context: u32,
}
