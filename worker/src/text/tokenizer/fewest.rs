//! The fewest tokens that a text can have, without tokenising it.

use ipc_proto::worker::TokenBound;
use serde_json::Value;
use tokenizers::{ModelWrapper, Tokenizer as Inner};

use super::Tokenizer;
use crate::text::token_bytes;

impl Tokenizer {
    /// The longest text of one token. `None` if this tokenizer may leave out parts of a text.
    pub fn token_bound(&self) -> Option<&TokenBound> {
        self.bound.get_or_init(|| self.find_bound()).as_ref()
    }

    fn find_bound(&self) -> Option<TokenBound> {
        let inner = &self.inner;
        let json = |part: serde_json::Result<Value>| part.unwrap_or_default();
        let shrinks = shrinks(&json(serde_json::to_value(inner.get_normalizer())))?;
        if !keeps(&json(serde_json::to_value(inner.get_pre_tokenizer()))) {
            return None;
        }
        let known = known_bytes(inner)?;
        let added = inner.get_added_vocabulary().get_added_tokens_decoder();
        let longest = (0..self.vocabulary()).map(|id| self.bytes(id).len()).max();
        // An added token may have an id above the vocabulary's size.
        let longest = longest.max(added.values().map(|token| token.content.len()).max())?;
        Some(TokenBound {
            bytes: u32::try_from(longest * shrinks).ok()?,
            untokenized: (0..=u8::MAX).filter(|byte| !known[usize::from(*byte)]).collect(),
            skips_space: added.values().any(|token| token.lstrip || token.rstrip),
        })
    }

    /// Whether a text certainly has more than `tokens` tokens.
    pub(super) fn has_more_tokens(&self, text: &str, tokens: usize) -> bool {
        self.token_bound().is_some_and(|bound| bound.is_exceeded(std::iter::once(text), tokens))
    }
}

/// How many bytes of a text become one byte, at most. `None` for a normalizer that may leave some out.
fn shrinks(normalizer: &Value) -> Option<usize> {
    let text = |name: &str| normalizer.get(name).and_then(Value::as_str);
    let Some(kind) = text("type") else { return normalizer.is_null().then_some(1) };
    match kind {
        "Sequence" => normalizer.get("normalizers")?.as_array()?.iter().map(shrinks).product(),
        "Prepend" => Some(1),
        // Composed characters have a third of the bytes at least: Hangul, Greek with three marks.
        "NFC" => Some(3),
        "Replace" => {
            let pattern = normalizer.get("pattern")?.get("String")?.as_str()?;
            (text("content")?.len() >= pattern.len()).then_some(1)
        }
        _ => None,
    }
}

/// Whether a pre-tokenizer passes all of a text on.
fn keeps(pre_tokenizer: &Value) -> bool {
    let text = |name: &str| pre_tokenizer.get(name).and_then(Value::as_str);
    match text("type") {
        None => pre_tokenizer.is_null(),
        Some("Sequence") => pre_tokenizer
            .get("pretokenizers")
            .and_then(Value::as_array)
            .is_some_and(|parts| parts.iter().all(keeps)),
        Some("ByteLevel" | "Metaspace" | "Digits" | "Punctuation") => true,
        Some("Split") => text("behavior").is_some_and(|behavior| behavior != "Removed"),
        Some(_) => false,
    }
}

/// The bytes that the model has tokens for. `None` for a model of another kind.
fn known_bytes(inner: &Inner) -> Option<[bool; 256]> {
    let ModelWrapper::BPE(model) = inner.get_model() else { return None };
    let known = |token: String| inner.token_to_id(&token).is_some();
    let mut bytes = [false; 256];
    if model.byte_fallback {
        for byte in 0..=u8::MAX {
            bytes[usize::from(byte)] = known(format!("<0x{byte:02X}>"));
        }
        return Some(bytes);
    }
    for (letter, byte) in token_bytes::alphabet() {
        bytes[usize::from(byte)] = known(letter.to_string());
    }
    Some(bytes)
}
