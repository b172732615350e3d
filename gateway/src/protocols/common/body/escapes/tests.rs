use proptest::prelude::*;
use serde_json::Value;

use crate::protocols::common::body::escapes::mended;

fn read(text: &str) -> Value {
    serde_json::from_str(&mended(text)).unwrap()
}

#[test]
fn backslashes_that_escape_nothing_stand_for_themselves() {
    assert_eq!(
        read(r#"{"a\q": "C:\dir\new \x \u12"}"#),
        serde_json::json!({"a\\q": "C:\\dir\new \\x \\u12"})
    );
    assert_eq!(read(r#""\ud83d\ude00 \ud83d \ude00x \u0041""#), "😀 \u{fffd} \u{fffd}x A");
    assert_eq!(read(r#""\\" "#), "\\");
    assert_eq!(read(r#""\u+123é""#), "\\u+123é");
}

proptest! {
    #[test]
    fn what_is_valid_stays(text in "\\PC{0,20}|[\"\\\\\\n\\u{1F600}]{0,8}") {
        let json = serde_json::json!({"k": text, "e": [text.escape_unicode().to_string()]}).to_string();
        prop_assert_eq!(mended(&json), json);
    }

    #[test]
    fn nothing_makes_it_panic(text in "[\"\\\\ud8f0é{}]{0,24}") {
        let _ = mended(&text);
    }
}
