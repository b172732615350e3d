use serde_json::json;

use super::*;

#[path = "../../../tests/common/models.rs"]
mod models;

pub(crate) use models::model;

pub(crate) fn smollm2() -> Tokenizer {
    Tokenizer::read(&model("SmolLM2-135M-Instruct")).unwrap()
}

/// A tokenizer like SentencePiece's: `▁` for spaces, and byte tokens for text outside the vocabulary. Its file also contains
/// the truncation and padding of a training run.
pub(crate) fn byte_fallback() -> Tokenizer {
    let folder = tempfile::tempdir().unwrap();
    let mut vocabulary = serde_json::Map::new();
    let bytes = (0..256).map(|byte| format!("<0x{byte:02X}>"));
    let words = ["▁", "a", "b", "c", "▁a", "▁b"].map(String::from);
    for (id, token) in ["<unk>".into(), "<s>".into()].into_iter().chain(bytes).chain(words).enumerate() {
        vocabulary.insert(token, json!(id));
    }
    let special = |id: u32, content: &str| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true})
    };
    let file = json!({
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
            "pad_type_id": 0, "pad_token": "<unk>"},
        "added_tokens": [special(0, "<unk>"), special(1, "<s>")],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "pre_tokenizer": null,
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "vocab": vocabulary,
            "merges": ["▁ a", "▁ b"]},
    });
    std::fs::write(folder.path().join("tokenizer.json"), file.to_string()).unwrap();
    Tokenizer::read(folder.path()).unwrap()
}

#[test]
fn truncation_and_padding_in_the_file_are_ignored() {
    let tokenizer = byte_fallback();
    assert_eq!(tokenizer.encode("a", false).unwrap().len(), 1);
    assert_eq!(tokenizer.encode("a a a a a a", false).unwrap().len(), 6);
}

#[test]
fn special_tokens_are_added_on_request_only() {
    let tokenizer = byte_fallback();
    let plain = tokenizer.encode("ab", false).unwrap();
    let with = tokenizer.encode("ab", true).unwrap();
    assert_eq!(with, [&[1], plain.as_slice()].concat());
    assert!(tokenizer.is_special(1) && !tokenizer.is_special(plain[0]));
    assert_eq!(tokenizer.decode(&with), "ab");
}

#[test]
fn markers_in_a_rendered_chat_become_single_tokens() {
    let tokenizer = smollm2();
    let tokens = tokenizer.encode("<|im_start|>user\nHi<|im_end|>\n", false).unwrap();
    assert_eq!((tokens[0], tokenizer.id("<|im_end|>")), (1, Some(2)));
    assert!(tokens.contains(&2));
}

#[test]
fn errors_name_a_missing_or_broken_file() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Tokenizer::read(folder.path()).unwrap_err().contains("tokenizer.json"));
    std::fs::write(folder.path().join("tokenizer.json"), "{").unwrap();
    assert!(Tokenizer::read(folder.path()).unwrap_err().contains("tokenizer.json"));
}

/// Both kinds of tokenizers, each with a reference that reads special tokens as text.
fn with_references() -> [(Tokenizer, Tokenizer); 2] {
    [smollm2, byte_fallback].map(|make| {
        let mut reference = make();
        reference.inner.set_encode_special_tokens(true);
        (make(), reference)
    })
}

#[test]
fn encode_as_text_agrees_with_the_library() {
    for (tokenizer, reference) in with_references() {
        for text in ["<|im_start|>user <|im_end|>", "a <s>b</s> <s>", "<s>", "plain a b", " ", ""] {
            let expected = reference.encode(text, false).unwrap();
            assert_eq!(tokenizer.encode_as_text(text, false).unwrap(), expected, "{text}");
            let expected = reference.encode(text, true).unwrap();
            assert_eq!(tokenizer.encode_as_text(text, true).unwrap(), expected, "{text}");
        }
    }
}

#[test]
fn encode_sanitized_reads_only_the_given_ranges_as_text() {
    let [(tokenizer, reference), (fallback, fallback_reference)] = with_references();
    let parts = ["<|im_start|>user\n", "say <|im_end|> now", "<|im_end|>\n"];
    let text = parts.concat();
    let at = text.find("<|im_end|>").unwrap();
    let span = at..at + 10;
    let ids = tokenizer.encode_sanitized(&text, std::slice::from_ref(&span)).unwrap();
    // The template's control tokens stay, around a text without any.
    let expected = [
        tokenizer.encode(parts[0], false).unwrap(),
        reference.encode(parts[1], false).unwrap(),
        tokenizer.encode(parts[2], false).unwrap(),
    ];
    assert_eq!(ids, expected.concat());
    assert_eq!(tokenizer.encode_sanitized(&text, &[]).unwrap(), tokenizer.encode(&text, false).unwrap());
    assert_eq!(tokenizer.decode_all(&ids), text);
    // A normalizer that adds a prefix to a text also adds it after a control token.
    let ids = fallback.encode_sanitized("<s>a <s>", std::slice::from_ref(&(5..8))).unwrap();
    let expected = [vec![1], fallback_reference.encode("a <s>", false).unwrap()];
    assert_eq!(ids, expected.concat());
}
