//! Finds stop texts in text that arrives in pieces, and never lets out a part of one.

/// Looks for several texts; the one that is complete first counts, and of those the longest. So it does not matter how the
/// text is cut into pieces.
#[derive(Debug, Default)]
pub struct StopMatcher {
    stops: Vec<String>,
    /// Text that may be the beginning of a stop text.
    held: String,
}

/// What a piece brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Text that may go out.
    pub text: String,
    /// Which stop text came, if one did; it and what follows it are gone.
    pub stopped: Option<usize>,
}

impl StopMatcher {
    /// A matcher for `stops`, none of them empty.
    pub fn new(stops: Vec<String>) -> Self {
        Self { stops, held: String::new() }
    }

    /// Takes the next piece.
    pub fn push(&mut self, piece: &str) -> Found {
        if self.stops.is_empty() {
            return Found { text: piece.to_owned(), stopped: None };
        }
        self.held.push_str(piece);
        let find =
            |(which, stop): (usize, &String)| self.held.find(stop).map(|at| (at + stop.len(), at, which));
        if let Some((_, at, which)) = self.stops.iter().enumerate().filter_map(find).min() {
            self.held.truncate(at);
            return Found { text: std::mem::take(&mut self.held), stopped: Some(which) };
        }
        let keep = self.stops.iter().map(|stop| overlap(&self.held, stop)).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - keep);
        Found { text: std::mem::replace(&mut self.held, rest), stopped: None }
    }

    /// The text held back, when nothing more comes.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// Bytes of the longest end of `text` that begins `stop`.
fn overlap(text: &str, stop: &str) -> usize {
    let starts = stop.char_indices().map(|(at, _)| at).rev();
    starts.filter(|at| *at <= text.len()).find(|at| text.ends_with(&stop[..*at])).unwrap_or(0)
}

#[cfg(test)]
mod tests;
