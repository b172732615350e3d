//! A body as it comes in. Its UTF-8 is checked piece by piece, while each piece is in the processor's cache and the rest is on its way.

use axum::body::Bytes;

/// Longest beginning of a character that lacks its end, in bytes.
const MAX_PARTIAL: usize = 3;

/// The bytes of a body, as text as far as they are text.
#[derive(Debug, Default)]
pub struct RawBody {
    text: String,
    /// The beginning of a character, or everything from the first byte that is no UTF-8.
    rest: Vec<u8>,
}

impl RawBody {
    /// An empty body with room for so many bytes. Memory that is not filled yet costs nothing.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes), rest: Vec::new() }
    }

    /// Its length in bytes.
    pub fn size(&self) -> usize {
        self.text.len() + self.rest.len()
    }

    /// Appends a piece.
    pub(super) fn push(&mut self, piece: &[u8]) {
        if self.rest.is_empty() {
            self.append(piece);
            return;
        }
        self.rest.extend_from_slice(piece);
        if self.rest.len() - piece.len() <= MAX_PARTIAL {
            let joined = std::mem::take(&mut self.rest);
            self.append(&joined);
        }
    }

    fn append(&mut self, piece: &[u8]) {
        match str::from_utf8(piece) {
            Ok(text) => self.text.push_str(text),
            Err(_) => {
                let valid = piece.utf8_chunks().next().map_or("", |chunk| chunk.valid());
                self.text.push_str(valid);
                self.rest = piece[valid.len()..].to_vec();
            }
        }
    }

    /// The whole body, if it is text.
    pub(super) fn text(&self) -> Option<&str> {
        self.rest.is_empty().then_some(&*self.text)
    }

    /// The whole body.
    pub fn into_bytes(self) -> Bytes {
        let mut bytes = self.text.into_bytes();
        bytes.extend_from_slice(&self.rest);
        bytes.into()
    }

    /// A copy of the whole body.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        [self.text.as_bytes(), &self.rest].concat()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn joined(pieces: &[Vec<u8>]) -> RawBody {
        let mut body = RawBody::with_capacity(8);
        pieces.iter().for_each(|piece| body.push(piece));
        body
    }

    #[test]
    fn characters_may_be_split_between_pieces() {
        for cut in 0..=12 {
            let (begin, end) = "aé語😀bc".as_bytes().split_at(cut);
            let body = joined(&[begin.to_vec(), Vec::new(), end.to_vec()]);
            assert_eq!(body.text(), Some("aé語😀bc"), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn body_is_its_pieces_and_text_if_they_are(
            pieces in proptest::collection::vec(
                prop_oneof![any::<Vec<u8>>(), "\\PC{0,6}".prop_map(String::into_bytes)], 0..6,
            ),
        ) {
            let whole = pieces.concat();
            let body = joined(&pieces);
            prop_assert_eq!(body.size(), whole.len());
            prop_assert_eq!(body.text(), str::from_utf8(&whole).ok());
            prop_assert_eq!(&*body.into_bytes(), &whole[..]);
        }
    }
}
