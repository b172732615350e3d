//! Claude Code's attribution line in system texts. Pure.
//!
//! The line names the version and the current request, so it differs in every request. The prefix cache would never match the
//! text after it. Claude Code sends it as a block of its own; proxies join it with other text.

/// The beginning of the line. Pairs such as `cc_version=2.1.37.0d9;` follow.
const BEGINNING: &str = "x-anthropic-billing-header:";

/// Removes all attribution lines, and nothing else. Returns `None` if no text remains.
pub(super) fn strip(text: String) -> Option<String> {
    if !text.contains(BEGINNING) {
        return Some(text);
    }
    let lines: Vec<&str> = text.split('\n').filter_map(strip_line).collect();
    Some(lines.join("\n")).filter(|text| !text.is_empty())
}

/// Returns the line without an attribution, or `None` if it contains nothing else.
fn strip_line(line: &str) -> Option<&str> {
    let Some(rest) = line.trim_start().strip_prefix(BEGINNING).and_then(skip_pairs) else {
        return Some(line);
    };
    // Some clients begin their text on the same line.
    let rest = rest.trim_start();
    (!rest.is_empty()).then_some(rest)
}

/// Returns the text after the pairs, or `None` if there is no pair.
fn skip_pairs(text: &str) -> Option<&str> {
    let mut rest = skip_pair(text)?;
    while let Some(after) = skip_pair(rest) {
        rest = after;
    }
    Some(rest)
}

/// Returns the text after one pair `name=value;`. The semicolon may be missing at the end of the line.
fn skip_pair(text: &str) -> Option<&str> {
    let (name, value) = text.trim_start().split_once('=')?;
    let is_name = |name: &str| {
        !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    if !is_name(name) {
        return None;
    }
    let end =
        value.find(|character: char| character == ';' || character.is_whitespace()).unwrap_or(value.len());
    let rest = &value[end..];
    rest.strip_prefix(';').or_else(|| rest.trim().is_empty().then_some(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "x-anthropic-billing-header: cc_version=2.1.37.0d9; cc_entrypoint=cli; cch=fa690;";

    fn stripped(text: &str) -> Option<String> {
        strip(text.replace("LINE", LINE))
    }

    #[test]
    fn attribution_line_is_removed_wherever_it_stands() {
        for (text, rest) in [
            ("LINE", None),
            ("LINE\n", None),
            ("LINE\nb", Some("b")),
            ("LINE\r\nb", Some("b")),
            ("a\nLINE", Some("a")),
            ("a\nLINE\nb", Some("a\nb")),
            ("LINE\n\nb", Some("\nb")),
            ("LINE\nLINE\nb", Some("b")),
            ("  LINE\nb", Some("b")),
        ] {
            assert_eq!(stripped(text).as_deref(), rest, "{text:?}");
        }
    }

    #[test]
    fn text_behind_the_last_pair_stays() {
        assert_eq!(stripped("LINEYou are an agent.\nb").as_deref(), Some("You are an agent.\nb"));
        assert_eq!(stripped("LINE x = 1; y").as_deref(), Some("x = 1; y"));
    }

    #[test]
    fn last_pair_needs_no_semicolon() {
        let text = "x-anthropic-billing-header: cc_version=2; cc_entrypoint=cli\nb";
        assert_eq!(strip(text.into()).as_deref(), Some("b"));
    }

    #[test]
    fn text_about_the_header_stays() {
        for text in [
            "x-anthropic-billing-header: is a header",
            "The x-anthropic-billing-header: a=b;",
            "x-anthropic-billing-header:",
        ] {
            assert_eq!(strip(text.into()).as_deref(), Some(text));
        }
    }
}
