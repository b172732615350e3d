//! Adds the events of one generation up to a whole answer.

use ipc_proto::generate::{Delta, FinishReason, Part, TokenLogprob, Usage};

/// A generation that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Whole {
    /// What was generated.
    pub output: Output,
    /// Why it ended.
    pub reason: FinishReason,
    /// What it took.
    pub usage: Usage,
}

/// What was generated so far.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Output {
    /// In order; two of one kind never follow each other, but for calls.
    pub parts: Vec<Part>,
    /// Of the answer's tokens, where they were asked for.
    pub logprobs: Vec<TokenLogprob>,
    /// Of the prompt's tokens, where they were asked for.
    pub prompt: Vec<TokenLogprob>,
}

impl Output {
    /// Adds more.
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
