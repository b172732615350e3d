use proptest::prelude::*;

use super::super::tests::{byte_fallback, model, smollm2};
use super::*;

const WANTED: &dyn Fn() -> bool = &|| true;

fn unbounded() -> Bounds<'static> {
    Bounds { tokens: usize::MAX, wanted: WANTED }
}

/// A text of at least `bytes` bytes, from these pieces in an order that `seed` decides.
fn mixture(pieces: &[&str], bytes: usize, mut seed: u64) -> String {
    let mut text = String::new();
    while text.len() < bytes {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push_str(pieces[(seed >> 33) as usize % pieces.len()]);
    }
    text
}

const PIECES: [&str; 24] = [
    "hello",
    " world",
    "  ",
    "\n",
    "\n\n    ",
    "don't",
    " 12345678",
    "3.14",
    "é",
    "日本語",
    "。",
    "한국어",
    " Привет",
    "🙂",
    "<|im_end|>",
    "<|im_start|>user\n",
    "==========",
    "\t",
    "camelCase",
    "snake_case",
    "(x, y)",
    "\r\n",
    "e\u{301}",
    " https://example.com/?q=1",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    #[test]
    fn pieces_have_the_tokens_of_the_whole(seed: u64, first in 0..PIECES.len(), count in 2..PIECES.len()) {
        let chosen: Vec<&str> = PIECES.iter().cycle().skip(first).take(count).copied().collect();
        let text = mixture(&chosen, 2 * PIECE, seed);
        for tokenizer in [smollm2(), Tokenizer::read(&model("all-MiniLM-L6-v2")).unwrap()] {
            let end = text.find("<|im_end|>").map_or(0..0, |at| at..at + 10);
            let as_text: Vec<_> = Some(end).filter(|range| !range.is_empty()).into_iter().collect();
            match tokenizer.encode_within(&text, &as_text, unbounded()) {
                Ok(tokens) => prop_assert!(tokens == tokenizer.encode_sanitized(&text, &as_text).unwrap()),
                Err(error) => prop_assert!(matches!(error, EncodeError::Uncut(_)), "{:?}", error),
            }
        }
    }

    #[test]
    fn no_text_has_fewer_tokens_than_the_bound(seed: u64, count in 1..PIECES.len()) {
        let text = mixture(&PIECES[..count], 3000, seed);
        for tokenizer in [smollm2(), byte_fallback()] {
            let tokens = tokenizer.encode(&text, false).unwrap().len();
            prop_assert!(!tokenizer.has_more_tokens(&text, tokens));
        }
    }
}

#[test]
fn ordinary_long_text_is_cut_into_small_pieces() {
    let tokenizer = smollm2();
    let text = mixture(&["The", " quick", " brown", " fox.", "\n"], 3 * PIECE, 7);
    let source = SourceText { text: &text, as_text: &[] };
    let end = tokenizer.piece_end(source, 0, 0, unbounded()).unwrap();
    assert!((PIECE..PIECE + 100).contains(&end), "{end}");
}

#[test]
fn bounds_are_kept() {
    let tokenizer = smollm2();
    let words = "hello ".repeat(50_000);
    let count = tokenizer.encode(&words, false).unwrap().len();
    let within = |text: &str, tokens| tokenizer.encode_within(text, &[], Bounds { tokens, wanted: WANTED });
    assert_eq!(within(&words, count).unwrap().len(), count);
    assert_eq!(within(&words, count - 1), Err(EncodeError::TooLong));
    // A run without a place for a cut is counted, and then refused.
    let run = "a".repeat(MAX_UNCUT + 2 * PIECE);
    assert_eq!(within(&run, 20_000), Err(EncodeError::TooLong));
    assert!(matches!(within(&run, usize::MAX), Err(EncodeError::Uncut(bytes)) if bytes > MAX_UNCUT));
    let gone = Bounds { tokens: usize::MAX, wanted: &|| false };
    assert_eq!(tokenizer.encode_within(&words, &[], gone), Err(EncodeError::Unwanted));
}

#[test]
fn beginning_has_more_tokens_than_asked_for() {
    let tokenizer = smollm2();
    let words = "hello ".repeat(100_000);
    let beginning = tokenizer.beginning(&words, 100, WANTED).unwrap();
    assert!((PIECE..2 * PIECE).contains(&beginning.len()), "{}", beginning.len());
    assert_eq!(tokenizer.beginning("hello", 100, WANTED), Ok("hello"));
    assert_eq!(tokenizer.beginning(&words, 1_000_000, WANTED), Ok(&*words));
}

#[test]
fn fewest_tokens_are_unknown_where_a_tokenizer_drops_text() {
    let mini = Tokenizer::read(&model("all-MiniLM-L6-v2")).unwrap();
    assert_eq!(mini.token_bound(), None);
    assert!(!mini.has_more_tokens(&" ".repeat(1 << 20), 0));
    assert!(smollm2().has_more_tokens(&" ".repeat(1 << 20), 1000));
}
