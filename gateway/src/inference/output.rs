//! Accumulates the events of one generation.

use ipc_proto::generate::{Delta, FinishReason, Part, TokenLogprob, Usage};

/// The output of a generation that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct CompleteOutput {
    /// The generated parts.
    pub output: Output,
    /// The reason of the end.
    pub reason: FinishReason,
    /// The token counts.
    pub usage: Usage,
}

/// The output of a generation so far.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Output {
    /// In order. Adjacent parts have different kinds, except calls.
    pub parts: Vec<Part>,
    /// Log probabilities of the answer's tokens, if requested.
    pub logprobs: Vec<TokenLogprob>,
    /// Log probabilities of the prompt's tokens, if requested.
    pub prompt: Vec<TokenLogprob>,
}

impl Output {
    /// Appends a delta. Joins parts of the same kind.
    pub fn add(&mut self, delta: Delta) {
        self.logprobs.extend_from_slice(delta.answer_logprobs());
        for part in delta.parts {
            match (self.parts.last_mut(), part) {
                (Some(Part::Text(text)), Part::Text(more))
                | (Some(Part::Reasoning(text)), Part::Reasoning(more))
                | (Some(Part::Arguments(text)), Part::Arguments(more)) => text.push_str(&more),
                (_, Part::Text(text) | Part::Reasoning(text) | Part::Arguments(text)) if text.is_empty() => {}
                (_, part) => self.parts.push(part),
            }
        }
    }

    /// The text of the answer.
    pub fn text(&self) -> String {
        let text = |part: &Part| if let Part::Text(text) = part { Some(text.clone()) } else { None };
        self.parts.iter().filter_map(text).collect()
    }
}

#[cfg(test)]
mod tests;
