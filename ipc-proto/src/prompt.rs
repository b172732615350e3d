//! Prompts as a model reads them, for people who want to see them.

use serde::{Deserialize, Serialize};

use crate::generate::Prompt;

/// A prompt as the model reads it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RenderedPrompt {
    /// Its text. Of a prompt of token ids, the text that they decode to.
    pub text: String,
    /// Its token ids.
    pub tokens: Vec<u32>,
    /// Prompt and output together, in tokens, as far as model and KV pool allow.
    pub max_context: u32,
    /// How a conversation became this text; `None` of other prompts.
    pub template: Option<TemplateUse>,
}

/// How a chat template was chosen and used.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TemplateUse {
    /// `default`, `tool_use`, `rag` or another name in the model folder.
    pub name: String,
    /// The file it stands in, relative to the model folder.
    pub file: String,
    /// How the conversation was changed so that the template takes it, a sentence each.
    pub adaptations: Vec<String>,
    /// How calls in the output are read.
    pub tool_format: FormatUse,
    /// How reasoning in the output is read.
    pub reasoning_format: FormatUse,
    /// Control tokens in the client's text that are read as text.
    pub sanitized: u32,
}

/// A format and why it was chosen.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FormatUse {
    /// Its name, as `mlxd-worker --tool-format` or `--reasoning-format` takes it.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// A text to be tokenised, or a prompt to be rendered first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenizeRequest {
    /// What to tokenise.
    pub prompt: Prompt,
    /// Whether a plain text gets the tokens that the tokenizer puts around texts (BOS).
    pub add_special: bool,
    /// Whether control tokens in a plain text are read as control tokens.
    pub parse_special: bool,
    /// Whether the answer has each token's text.
    pub pieces: bool,
}

/// Token ids.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tokenized {
    /// In order.
    pub tokens: Vec<u32>,
    /// Each token's bytes, where they were asked for: not always whole characters.
    pub pieces: Vec<Vec<u8>>,
    /// Prompt and output together, in tokens, as far as model and KV pool allow.
    pub max_context: u32,
}
