//! Finds stop texts in text that arrives in pieces. Never releases a part of one.
//!
//! Stop texts count in the answer only, neither in reasoning nor in the arguments of calls. There they would end the output
//! before the answer.

use ipc_proto::generate::Part;

/// Searches for several stop texts. The first one to be complete wins, and the longest of several that end together. So the
/// result does not depend on how the text is cut into pieces.
#[derive(Debug, Default)]
pub struct StopMatcher {
    stops: Vec<String>,
    /// A possible beginning of a stop text.
    held: String,
}

/// The result of one piece of text.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct StopScan {
    /// Text that belongs to no stop text.
    pub text: String,
    /// The index of the stop text that was found. The matcher drops it and the text after it.
    pub stopped: Option<usize>,
}

impl StopMatcher {
    /// A matcher for `stops`. None of them may be empty.
    pub fn new(stops: Vec<String>) -> Self {
        Self { stops, held: String::new() }
    }

    /// Searches the next piece.
    pub fn push(&mut self, piece: &str) -> StopScan {
        if self.stops.is_empty() {
            return StopScan { text: piece.to_owned(), stopped: None };
        }
        self.held.push_str(piece);
        let find =
            |(which, stop): (usize, &String)| self.held.find(stop).map(|at| (at + stop.len(), at, which));
        if let Some((_, at, which)) = self.stops.iter().enumerate().filter_map(find).min() {
            self.held.truncate(at);
            return StopScan { text: std::mem::take(&mut self.held), stopped: Some(which) };
        }
        let keep = self.stops.iter().map(|stop| overlap(&self.held, stop)).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - keep);
        StopScan { text: std::mem::replace(&mut self.held, rest), stopped: None }
    }

    /// Ends the text. Returns the text held back.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// Searches for stop texts in the answer of a parsed output.
#[derive(Debug, Default)]
pub struct AnswerStops(StopMatcher);

impl AnswerStops {
    /// A search for `stops`. None of them may be empty.
    pub fn new(stops: Vec<String>) -> Self {
        Self(StopMatcher::new(stops))
    }

    /// Searches the next parts. Returns the parts before the stop text, and the index of the stop text that was found.
    /// A stop text does not extend across reasoning or a call.
    pub fn push(&mut self, parts: Vec<Part>) -> (Vec<Part>, Option<usize>) {
        let mut kept = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                Part::Text(text) => {
                    let StopScan { text, stopped } = self.0.push(&text);
                    push_text(&mut kept, text);
                    if stopped.is_some() {
                        return (kept, stopped);
                    }
                }
                part => {
                    push_text(&mut kept, self.0.finish());
                    kept.push(part);
                }
            }
        }
        (kept, None)
    }

    /// Ends the output. Returns the part held back, if any.
    pub fn finish(&mut self) -> Option<Part> {
        Some(self.0.finish()).filter(|text| !text.is_empty()).map(Part::Text)
    }
}

fn push_text(parts: &mut Vec<Part>, text: String) {
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
}

/// The length in bytes of the longest suffix of `text` that is a prefix of `stop`.
fn overlap(text: &str, stop: &str) -> usize {
    let starts = stop.char_indices().map(|(at, _)| at).rev();
    starts.filter(|at| *at <= text.len()).find(|at| text.ends_with(&stop[..*at])).unwrap_or(0)
}

#[cfg(test)]
mod tests;
