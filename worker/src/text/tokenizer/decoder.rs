//! Replaces decoders that contradict the vocabulary.
//!
//! Converted files may have the vocabulary of one kind of tokenizer and the decoder of another. Devstral Small 2's has a
//! byte-level vocabulary and SentencePiece's decoder, and decodes to `HelloĠworld` (ml-explore/mlx-lm#1041). The steps before
//! the model decide how the vocabulary is written, so they decide on the decoder.

use serde_json::{Value, json};
use tokenizers::{DecoderWrapper, Tokenizer};

/// The space of SentencePiece's vocabularies.
const SPACE: &str = "▁";

/// The decoder that the tokenizer's vocabulary needs; `None` if the file's own is consistent with it.
pub(super) fn replacement(tokenizer: &Tokenizer) -> Option<DecoderWrapper> {
    let normalizer = serde_json::to_value(tokenizer.get_normalizer()).unwrap_or_default();
    let pre_tokenizer = serde_json::to_value(tokenizer.get_pre_tokenizer()).unwrap_or_default();
    let decoder = serde_json::to_value(tokenizer.get_decoder()).unwrap_or_default();
    let before = [&normalizer, &pre_tokenizer];
    let decodes_bytes = any(&decoder, &|step| has_type(step, "ByteLevel"));
    if before.iter().any(|value| any(value, &|step| has_type(step, "ByteLevel"))) {
        let byte_level =
            json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true});
        return (!decodes_bytes).then(|| serde_json::from_value(byte_level).ok())?;
    }
    let marks_spaces = before.iter().any(|value| any(value, &writes_space_mark));
    if !marks_spaces || !(decodes_bytes || decoder.is_null()) {
        return None;
    }
    let mut steps = vec![
        json!({"type": "Replace", "pattern": {"String": SPACE}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if before.iter().any(|value| any(value, &prepends_space)) {
        steps.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    serde_json::from_value(json!({"type": "Sequence", "decoders": steps})).ok()
}

/// Whether a step, or one within its sequence, has the property.
fn any(value: &Value, property: &impl Fn(&Value) -> bool) -> bool {
    match value {
        Value::Array(list) => list.iter().any(|value| any(value, property)),
        Value::Object(fields) => property(value) || fields.values().any(|value| any(value, property)),
        _ => false,
    }
}

fn has_type(step: &Value, name: &str) -> bool {
    step.get("type").and_then(Value::as_str) == Some(name)
}

fn writes_space_mark(step: &Value) -> bool {
    let is_mark = |field: &str| step.get(field).and_then(Value::as_str) == Some(SPACE);
    (has_type(step, "Metaspace") && is_mark("replacement"))
        || (has_type(step, "Replace") && is_mark("content"))
}

fn prepends_space(step: &Value) -> bool {
    has_type(step, "Prepend")
        || (has_type(step, "Metaspace")
            && step.get("prepend_scheme").and_then(Value::as_str) != Some("never"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tokenizer of three tokens: "a", a space before "b", and a line feed.
    fn tokenizer(
        vocabulary: [&str; 3],
        normalizer: &Value,
        pre_tokenizer: &Value,
        decoder: &Value,
    ) -> Tokenizer {
        let [a, b, line] = vocabulary;
        let file = json!({
            "version": "1.0", "added_tokens": [], "normalizer": normalizer, "pre_tokenizer": pre_tokenizer,
            "post_processor": null, "decoder": decoder,
            "model": {"type": "BPE", "byte_fallback": true, "vocab": {a: 0, b: 1, line: 2}, "merges": []},
        });
        let mut tokenizer = Tokenizer::from_bytes(file.to_string()).unwrap();
        if let Some(decoder) = replacement(&tokenizer) {
            tokenizer.with_decoder(Some(decoder));
        }
        tokenizer
    }

    fn decoded(tokenizer: &Tokenizer) -> String {
        tokenizer.decode(&[0, 1, 2], true).unwrap()
    }

    fn byte_level() -> Value {
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true})
    }

    fn sentence_piece() -> Value {
        json!({"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]})
    }

    #[test]
    fn byte_level_vocabulary_is_decoded_as_such_by_any_decoder() {
        let nested = json!({"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"String": " "}, "behavior": "Isolated", "invert": false}, byte_level()]});
        for decoder in [sentence_piece(), Value::Null, byte_level(), json!({"type": "Fuse"})] {
            for pre_tokenizer in [byte_level(), nested.clone()] {
                let tokenizer = tokenizer(["a", "Ġb", "Ċ"], &Value::Null, &pre_tokenizer, &decoder);
                assert_eq!(decoded(&tokenizer), "a b\n", "{decoder}");
            }
        }
    }

    #[test]
    fn vocabulary_with_space_marks_is_not_decoded_as_byte_level() {
        let marks = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
        let with_prefix =
            json!({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, marks]});
        let metaspace =
            json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false});
        for decoder in [byte_level(), Value::Null, sentence_piece()] {
            let vocabulary = ["▁a", "▁b", "<0x0A>"];
            for (normalizer, pre_tokenizer) in [(&with_prefix, &Value::Null), (&Value::Null, &metaspace)] {
                let tokenizer = tokenizer(vocabulary, normalizer, pre_tokenizer, &decoder);
                assert_eq!(decoded(&tokenizer), "a b\n", "{decoder}");
            }
        }
        let tokenizer = tokenizer(["a", "▁b", "<0x0A>"], &marks, &Value::Null, &byte_level());
        assert_eq!(decoded(&tokenizer), "a b\n");
    }

    #[test]
    fn consistent_and_unknown_decoders_are_kept() {
        let word_piece = json!({"type": "WordPiece", "prefix": "##", "cleanup": true});
        for (pre_tokenizer, decoder) in
            [(byte_level(), byte_level()), (Value::Null, word_piece), (Value::Null, Value::Null)]
        {
            let tokenizer = tokenizer(["a", "b", "c"], &Value::Null, &pre_tokenizer, &decoder);
            assert!(replacement(&tokenizer).is_none(), "{decoder}");
        }
    }
}
