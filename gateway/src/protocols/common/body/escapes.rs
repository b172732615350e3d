//! Repairs JSON with invalid escapes. Some clients write paths and regular expressions into strings without escaping them.

/// Doubles every backslash in a string that begins no valid escape, and replaces lone surrogates. Valid JSON stays unchanged.
pub(super) fn repair_escapes(text: &str) -> String {
    let mut repaired = String::with_capacity(text.len() + 16);
    let mut rest = text;
    let mut inside = false;
    while let Some(at) = rest.find(['"', '\\']) {
        repaired.push_str(&rest[..at]);
        let from = &rest[at..];
        let taken = if from.starts_with('"') {
            inside = !inside;
            repaired.push('"');
            1
        } else if inside {
            push_escape(from, &mut repaired)
        } else {
            repaired.push('\\');
            1
        };
        rest = &from[taken..];
    }
    repaired.push_str(rest);
    repaired
}

/// Appends the escape at the beginning of `from`. Returns the number of bytes consumed.
fn push_escape(from: &str, repaired: &mut String) -> usize {
    match from.as_bytes().get(1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
            repaired.push_str(&from[..2]);
            2
        }
        Some(b'u') => match code_unit(from) {
            Some(0xd800..0xdc00) if matches!(from.get(6..).and_then(code_unit), Some(0xdc00..0xe000)) => {
                repaired.push_str(&from[..12]);
                12
            }
            Some(0xd800..0xe000) => {
                repaired.push_str("\\ufffd");
                6
            }
            Some(_) => {
                repaired.push_str(&from[..6]);
                6
            }
            None => push_backslash(repaired),
        },
        _ => push_backslash(repaired),
    }
}

fn push_backslash(repaired: &mut String) -> usize {
    repaired.push_str("\\\\");
    1
}

/// Parses the UTF-16 code unit of a `\u` escape at the beginning of `text`.
fn code_unit(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    // from_str_radix would accept a sign.
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests;
