//! Tokenises long texts piece by piece: with the memory of a piece, and only while a request waits for the tokens.
//!
//! The pieces have exactly the tokens of the whole. A cut is only made where the text around it has the same tokens with the
//! cut and without it.

use std::ops::Range;

use super::Tokenizer;

/// Bytes that are tokenised at once, and bytes of a piece at least.
pub(crate) const PIECE: usize = 64 << 10;
/// Bytes that are tokenised at once if there is no safe cut among them, at most.
const MAX_UNCUT: usize = 1 << 20;
/// Bytes before and after a cut that decide whether it is safe.
const AROUND: usize = 256;
/// Cuts that are tried in a piece.
const TRIES: usize = 16;
/// Tokens that a cut in any place adds at most to a count.
const PER_CUT: usize = 16;

/// Bounds of the tokenisation of a text.
#[derive(Clone, Copy)]
pub struct Bounds<'a> {
    /// Tokens after which a text is too long. A text of one piece is tokenised whatever its length.
    pub tokens: usize,
    /// Whether a request still waits for the tokens.
    pub wanted: &'a dyn Fn() -> bool,
}

/// The reason why a text has no tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EncodeError {
    /// It has more tokens than [`Bounds::tokens`].
    TooLong,
    /// No request waits for them any more.
    Unwanted,
    /// It has this many bytes in a row, at least, that can only be tokenised together.
    Uncut(usize),
    /// The tokenizer's error, as a sentence.
    Failed(String),
}

impl From<String> for EncodeError {
    fn from(text: String) -> Self {
        Self::Failed(text)
    }
}

/// A text and its ranges in which control tokens are ordinary text.
#[derive(Clone, Copy)]
struct SourceText<'a> {
    text: &'a str,
    as_text: &'a [Range<usize>],
}

impl SourceText<'_> {
    /// The ranges within `part`, relative to its start.
    fn ranges(&self, part: &Range<usize>) -> Vec<Range<usize>> {
        let first = self.as_text.partition_point(|range| range.end <= part.start);
        let within = self.as_text[first..].iter().take_while(|range| range.start < part.end);
        let clipped = |at: usize| at.clamp(part.start, part.end) - part.start;
        within.map(|range| clipped(range.start)..clipped(range.end)).collect()
    }
}

impl Tokenizer {
    /// As [`Self::encode_sanitized`], within bounds.
    ///
    /// # Errors
    /// When a bound is passed, and the tokenizer's errors.
    pub fn encode_within(
        &self,
        text: &str,
        as_text: &[Range<usize>],
        bounds: Bounds,
    ) -> Result<Vec<u32>, EncodeError> {
        if text.len() <= PIECE {
            return Ok(self.encode_sanitized(text, as_text)?);
        }
        if self.has_more_tokens(text, bounds.tokens) {
            return Err(EncodeError::TooLong);
        }
        let source = SourceText { text, as_text };
        let (mut tokens, mut start) = (Vec::new(), 0);
        while start < text.len() {
            let end = self.piece_end(source, start, tokens.len(), bounds)?;
            tokens.extend(self.encode_part(source, start..end)?);
            if tokens.len() > bounds.tokens {
                return Err(EncodeError::TooLong);
            }
            start = end;
        }
        Ok(tokens)
    }

    /// The beginning of `text` that has more than `tokens` tokens, or all of it.
    ///
    /// # Errors
    /// Those of [`Self::encode_within`].
    pub fn beginning<'a>(
        &self,
        text: &'a str,
        tokens: usize,
        wanted: &dyn Fn() -> bool,
    ) -> Result<&'a str, EncodeError> {
        let source = SourceText { text, as_text: &[] };
        let (mut count, mut start) = (0, 0);
        while text.len() - start > PIECE && count <= tokens {
            let end = self.piece_end(source, start, 0, Bounds { tokens: usize::MAX, wanted })?;
            count += self.encode_part(source, start..end)?.len();
            start = end;
        }
        Ok(if count > tokens { &text[..start] } else { text })
    }

    fn encode_part(&self, source: SourceText, part: Range<usize>) -> Result<Vec<u32>, String> {
        let ranges = source.ranges(&part);
        self.encode_sanitized(&source.text[part], &ranges)
    }

    /// The end of the piece that begins at `start`, after `before` tokens: the first safe cut.
    fn piece_end(
        &self,
        source: SourceText,
        start: usize,
        before: usize,
        bounds: Bounds,
    ) -> Result<usize, EncodeError> {
        let SourceText { text, .. } = source;
        let (mut counted, mut count) = (start, before);
        loop {
            if !(bounds.wanted)() {
                return Err(EncodeError::Unwanted);
            }
            let from = text.ceil_char_boundary(counted + PIECE);
            if from >= text.len() {
                return Ok(text.len());
            }
            let until = text.ceil_char_boundary(from + PIECE);
            if let Some(cut) = self.safe_cut(source, from..until)? {
                return Ok(cut);
            }
            // Only the count matters here, so any cut will do.
            count += self.encode_part(source, counted..from)?.len().saturating_sub(PER_CUT);
            if count > bounds.tokens {
                return Err(EncodeError::TooLong);
            }
            counted = from;
            if counted - start > MAX_UNCUT {
                return Err(EncodeError::Uncut(counted - start));
            }
        }
    }

    /// A place in `within` where a cut changes no token.
    fn safe_cut(&self, source: SourceText, within: Range<usize>) -> Result<Option<usize>, String> {
        for cut in changes_of_class(source.text, within).take(TRIES) {
            let left = source.text.floor_char_boundary(cut.saturating_sub(AROUND))..cut;
            let right = cut..source.text.ceil_char_boundary(cut + AROUND);
            let mut halves = self.encode_part(source, left.clone())?;
            halves.extend(self.encode_part(source, right.clone())?);
            if halves == self.encode_part(source, left.start..right.end)? {
                return Ok(Some(cut));
            }
        }
        Ok(None)
    }
}

/// The places where a letter, a digit or another character meets one of another class. Within a run of one class, the position
/// of a token's end may depend on the distant start of the run.
fn changes_of_class(text: &str, within: Range<usize>) -> impl Iterator<Item = usize> {
    let class = |c: char| (c.is_alphabetic(), c.is_numeric());
    let places = text[within.clone()].char_indices();
    let next = text[within.clone()].chars().skip(1);
    let pairs = places.zip(next).filter(move |((_, a), b)| class(*a) != class(*b));
    pairs.map(move |((at, a), _)| within.start + at + a.len_utf8())
}

#[cfg(test)]
mod tests;
