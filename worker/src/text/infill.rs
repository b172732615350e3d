//! Fill in the middle: prompts for models that were trained to fill the gap between two texts.

use super::tokenizer::Tokenizer;

/// The tokens before the prefix, before the suffix and at the gap: Qwen-Coder, StarCoder and SmolLM, DeepSeek-Coder, Code
/// Llama, CodeGemma.
const FAMILIES: [[&str; 3]; 6] = [
    ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"],
    ["<fim_prefix>", "<fim_suffix>", "<fim_middle>"],
    ["<fim-prefix>", "<fim-suffix>", "<fim-middle>"],
    ["<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"],
    ["▁<PRE>", "▁<SUF>", "▁<MID>"],
    ["<PRE>", "<SUF>", "<MID>"],
];

/// A model's infill tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InfillTokens {
    prefix: u32,
    suffix: u32,
    middle: u32,
}

impl InfillTokens {
    /// The infill tokens in a vocabulary. `None` unless it has all three of a family.
    pub fn find(tokenizer: &Tokenizer) -> Option<Self> {
        let ids = |[prefix, suffix, middle]: &[&str; 3]| {
            Some(Self {
                prefix: tokenizer.id(prefix)?,
                suffix: tokenizer.id(suffix)?,
                middle: tokenizer.id(middle)?,
            })
        };
        FAMILIES.iter().find_map(ids)
    }

    /// The prompt for the gap between `before` and `after`.
    pub fn prompt(self, before: &[u32], after: &[u32]) -> Vec<u32> {
        [&[self.prefix], before, &[self.suffix], after, &[self.middle]].concat()
    }
}
