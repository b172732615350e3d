//! Finds markers in text that arrives character by character.

/// Holds back text that may be the beginning of a marker, and the white space before it. A marker drops that white space.
#[derive(Debug, Default)]
pub struct MarkerBuffer {
    held: String,
}

impl MarkerBuffer {
    /// Takes the next character and hands text that belongs to no marker to `emit`. Returns the index in `markers` of a
    /// complete marker; the buffer then holds the white space before it.
    pub fn push(&mut self, c: char, markers: &[&str], mut emit: impl FnMut(&str)) -> Option<usize> {
        self.held.push(c);
        loop {
            let start = self.held.len() - self.held.trim_start().len();
            let text = &self.held[start..];
            let first = text.chars().next()?.len_utf8();
            if let Some(which) = markers.iter().position(|marker| *marker == text) {
                self.held.truncate(start);
                return Some(which);
            }
            if markers.iter().any(|marker| marker.starts_with(text)) {
                return None;
            }
            emit(&self.held[..start + first]);
            self.held.drain(..start + first);
        }
    }

    /// Whether the buffer holds only white space.
    pub fn is_blank(&self) -> bool {
        self.held.trim_start().is_empty()
    }

    /// Empties the buffer and returns its text.
    pub fn take(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}
