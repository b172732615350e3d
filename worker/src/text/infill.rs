//! Fill in the middle: the tokens that models trained for it have around what stands before and after a gap.

use super::tokenizer::Tokenizer;

/// Before, after and at the gap: Qwen-Coder, StarCoder and SmolLM, DeepSeek-Coder, Code Llama, CodeGemma.
const FAMILIES: [[&str; 3]; 6] = [
    ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"],
    ["<fim_prefix>", "<fim_suffix>", "<fim_middle>"],
    ["<fim-prefix>", "<fim-suffix>", "<fim-middle>"],
    ["<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"],
    ["▁<PRE>", "▁<SUF>", "▁<MID>"],
    ["<PRE>", "<SUF>", "<MID>"],
];

/// A model's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Markers([u32; 3]);

impl Markers {
    /// Those of a tokenizer, where it has all three.
    pub fn of(tokenizer: &Tokenizer) -> Option<Self> {
        let ids = |[before, after, gap]: &[&str; 3]| {
            Some(Self([tokenizer.id(before)?, tokenizer.id(after)?, tokenizer.id(gap)?]))
        };
        FAMILIES.iter().find_map(ids)
    }

    /// The prompt of a gap between `before` and `after`.
    pub fn around(self, before: &[u32], after: &[u32]) -> Vec<u32> {
        let Self([first, second, gap]) = self;
        [&[first], before, &[second], after, &[gap]].concat()
    }
}
