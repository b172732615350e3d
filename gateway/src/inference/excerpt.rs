//! A bounded part of a text: its beginning and its end.

/// Stands for what is left out.
const GAP: &str = " … ";

/// The text, or its beginning and end in at most `max_bytes` together. Never cuts a character. `None` if there is nothing to read.
pub fn excerpt(text: &str, max_bytes: usize) -> Option<String> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    if text.len() <= max_bytes {
        return Some(text.to_owned());
    }
    let half = max_bytes.saturating_sub(GAP.len()) / 2;
    let beginning = &text[..text.floor_char_boundary(half)];
    let end = &text[text.ceil_char_boundary(text.len() - half)..];
    Some(format!("{beginning}{GAP}{end}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn long_text_keeps_its_beginning_and_its_end() {
        assert_eq!(excerpt("  short ", 16).as_deref(), Some("short"));
        assert_eq!(excerpt(&"abcdefghij".repeat(9), 16).as_deref(), Some("abcde … fghij"));
        assert_eq!(excerpt(&"ä".repeat(20), 16).as_deref(), Some("ää … ää"));
        assert_eq!(excerpt(" \n", 16), None);
    }

    proptest! {
        #[test]
        fn excerpt_is_bounded_and_whole(text in "\\PC{0,60}", max in 16usize..80) {
            if let Some(part) = excerpt(&text, max) {
                prop_assert!(part.len() <= max);
                prop_assert!(text.trim().len() > max || part == text.trim());
            }
        }
    }
}
