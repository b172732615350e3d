use proptest::prelude::*;
use serde_json::Value;

use crate::protocols::common::body::escapes::repair_escapes;

fn parse_repaired(text: &str) -> Value {
    serde_json::from_str(&repair_escapes(text)).unwrap()
}

#[test]
fn invalid_escape_becomes_a_literal_backslash() {
    assert_eq!(
        parse_repaired(r#"{"a\q": "C:\dir\new \x \u12"}"#),
        serde_json::json!({"a\\q": "C:\\dir\new \\x \\u12"})
    );
    assert_eq!(parse_repaired(r#""\ud83d\ude00 \ud83d \ude00x \u0041""#), "😀 \u{fffd} \u{fffd}x A");
    assert_eq!(parse_repaired(r#""\\" "#), "\\");
    assert_eq!(parse_repaired(r#""\u+123é""#), "\\u+123é");
}

proptest! {
    #[test]
    fn valid_json_is_unchanged(text in "\\PC{0,20}|[\"\\\\\\n\\u{1F600}]{0,8}") {
        let json = serde_json::json!({"k": text, "e": [text.escape_unicode().to_string()]}).to_string();
        prop_assert_eq!(repair_escapes(&json), json);
    }

    #[test]
    fn arbitrary_text_does_not_panic(text in "[\"\\\\ud8f0é{}]{0,24}") {
        let _ = repair_escapes(&text);
    }
}
