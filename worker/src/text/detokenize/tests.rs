use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::text::tokenizer::tests::{byte_fallback, smollm2};

static SMOL: LazyLock<Arc<Tokenizer>> = LazyLock::new(|| Arc::new(smollm2()));
static BYTES: LazyLock<Arc<Tokenizer>> = LazyLock::new(|| Arc::new(byte_fallback()));

fn run(tokenizer: &Arc<Tokenizer>, tokens: &[u32]) -> (String, usize) {
    let mut detokenizer = Detokenizer::new(Arc::clone(tokenizer));
    let mut text = String::new();
    let mut widest = 0;
    for token in tokens {
        if let Some(piece) = detokenizer.push(*token) {
            assert!(!piece.is_empty());
            text += &piece;
        }
        widest = widest.max(detokenizer.window.len());
    }
    (text + &detokenizer.finish(), widest)
}

/// Decodes all tokens at once and drops an incomplete character at the end.
fn whole(tokenizer: &Tokenizer, tokens: &[u32]) -> String {
    tokenizer.decode(tokens).trim_end_matches(REPLACEMENT).to_owned()
}

fn trimmed(text: &str) -> &str {
    text.trim_end_matches(REPLACEMENT)
}

/// Tokens that are a part of a character, the difficult ones of a byte-level vocabulary.
static PARTS: LazyLock<Vec<u32>> = LazyLock::new(|| {
    let all = 0..SMOL.vocabulary();
    all.filter(|token| SMOL.decode(&[*token]).contains(REPLACEMENT)).collect()
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_tokens_decode_as_at_once(tokens in vec(0u32..49152, 0..60)) {
        let (out, _) = run(&SMOL, &tokens);
        prop_assert_eq!(trimmed(&out), whole(&SMOL, &tokens));
    }

    #[test]
    fn parts_of_characters_decode_as_at_once(
        picks in vec((any::<prop::sample::Index>(), 0u32..49152, 0..5), 0..40),
    ) {
        let token = |(part, other, which): &(prop::sample::Index, u32, i32)| {
            if *which > 0 { *part.get(&PARTS) } else { *other }
        };
        let tokens: Vec<u32> = picks.iter().map(token).collect();
        let (text, widest) = run(&SMOL, &tokens);
        prop_assert_eq!(trimmed(&text), whole(&SMOL, &tokens));
        prop_assert!(widest <= 12, "a window of {} tokens", widest);
    }

    #[test]
    fn text_round_trips(text in "\\PC{0,60}") {
        let tokens = SMOL.encode(&text, false).unwrap();
        let (out, _) = run(&SMOL, &tokens);
        prop_assert_eq!(trimmed(&out), trimmed(&text));
    }

    #[test]
    fn byte_tokens_and_leading_spaces_round_trip(text in "[a-c ]{0,3}([a-c é你😀]|  ){0,30}[a-c]") {
        let tokens = BYTES.encode(&text, false).unwrap();
        let (out, widest) = run(&BYTES, &tokens);
        prop_assert_eq!(out, BYTES.decode(&tokens));
        prop_assert!(widest <= 12, "a window of {} tokens", widest);
    }

    #[test]
    fn invalid_byte_tokens_do_not_stop_the_stream(tokens in vec(0u32..300, 0..60)) {
        let end = BYTES.encode("abc", false).unwrap();
        let tokens: Vec<u32> = tokens.into_iter().filter(|t| *t < BYTES.vocabulary()).chain(end).collect();
        prop_assert!(run(&BYTES, &tokens).0.ends_with("abc"));
    }
}

#[test]
fn character_of_several_tokens_is_released_once() {
    let tokens = SMOL.encode("🦀", false).unwrap();
    assert!(tokens.len() > 1);
    let mut detokenizer = Detokenizer::new(Arc::clone(&SMOL));
    let (last, first) = tokens.split_last().unwrap();
    for token in first {
        assert_eq!(detokenizer.push(*token), None);
    }
    assert_eq!(detokenizer.push(*last).as_deref(), Some("🦀"));
    assert_eq!(detokenizer.finish(), "");
}

#[test]
fn incomplete_character_at_the_end_is_dropped() {
    let tokens = SMOL.encode("ok 🦀", false).unwrap();
    assert_eq!(run(&SMOL, &tokens[..tokens.len() - 1]).0.trim_end(), "ok");
}

#[test]
fn special_tokens_are_skipped() {
    let tokens = BYTES.encode("ab ab", false).unwrap();
    let special = BYTES.id("<s>").unwrap();
    let mixed: Vec<u32> = tokens.iter().flat_map(|token| [special, *token]).collect();
    assert_eq!(run(&BYTES, &mixed).0, "ab ab");
}
