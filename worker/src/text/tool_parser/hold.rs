//! Text in which markers may come.

/// Holds back what may be the beginning of a marker, and white space, which is dropped before one.
#[derive(Debug, Default)]
pub struct Hold {
    held: String,
}

impl Hold {
    /// Takes the next character; gives text that is certain to `emit`. Says which of `markers` is complete, if one is;
    /// then the white space before it is what is held.
    pub fn feed(&mut self, c: char, markers: &[&str], mut emit: impl FnMut(&str)) -> Option<usize> {
        self.held.push(c);
        loop {
            let start = self.held.len() - self.held.trim_start().len();
            let text = &self.held[start..];
            let mut chars = text.chars();
            let first = chars.next()?.len_utf8();
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

    /// Whether nothing but white space is held.
    pub fn is_blank(&self) -> bool {
        self.held.trim_start().is_empty()
    }

    /// What is held.
    pub fn take(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}
