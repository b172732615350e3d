//! The chunks of a choice's text, which differ in nothing but the text.

use crate::dispatch::json_line;

/// A serialised chunk around its text. Nearly all chunks of a stream are text, so the other fields are serialised once.
#[derive(Debug)]
pub(in crate::protocols::openai) struct TextChunk {
    before: Vec<u8>,
    after: Vec<u8>,
}

impl TextChunk {
    /// Splits `chunk`, whose `field` holds the empty text. `None` if it has no such field.
    pub(in crate::protocols::openai) fn split(mut chunk: Vec<u8>, field: &str) -> Option<Self> {
        // No text in the chunk can hold this: JSON escapes quotation marks in texts.
        let empty = format!("\"{field}\":\"\"");
        let start = chunk.windows(empty.len()).position(|window| window == empty.as_bytes())?;
        let after = chunk.split_off(start + empty.len());
        chunk.truncate(chunk.len() - 2);
        Some(Self { before: chunk, after })
    }

    /// Appends the chunk with this text.
    pub(in crate::protocols::openai) fn push(&self, buffer: &mut Vec<u8>, text: &str) {
        buffer.reserve(self.before.len() + text.len() + self.after.len() + 2);
        buffer.extend_from_slice(&self.before);
        json_line::push_text(buffer, text);
        buffer.extend_from_slice(&self.after);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::dispatch::sse;

    #[test]
    fn chunk_is_the_serialised_one() {
        let chunk = |text: &str| {
            let mut buffer = Vec::new();
            let choices = [json!({"delta": {"content": text}, "index": 0})];
            sse::push(&mut buffer, &json!({"choices": choices, "model": "a \"content\":\"\" b"}));
            buffer
        };
        assert!(TextChunk::split(chunk(""), "text").is_none());
        let split = TextChunk::split(chunk(""), "content").unwrap();
        for text in ["", "plain", "\"quoted\\\" \n\u{1}", "ü\u{2028}😀", "\"content\":\"\""] {
            let mut buffer = Vec::new();
            split.push(&mut buffer, text);
            assert_eq!(String::from_utf8(buffer).unwrap(), String::from_utf8(chunk(text)).unwrap());
        }
    }
}
