//! Mends JSON that only its escapes keep from being read: some clients write paths and patterns into strings as they are.

/// `text` with every backslash in a string that begins no valid escape doubled, and halves of surrogate pairs that stand alone
/// replaced. What is valid stays as it is.
pub(super) fn mended(text: &str) -> String {
    let mut mended = String::with_capacity(text.len() + 16);
    let mut rest = text;
    let mut inside = false;
    while let Some(at) = rest.find(['"', '\\']) {
        mended.push_str(&rest[..at]);
        let from = &rest[at..];
        let taken = if from.starts_with('"') {
            inside = !inside;
            mended.push('"');
            1
        } else if inside {
            escape(from, &mut mended)
        } else {
            mended.push('\\');
            1
        };
        rest = &from[taken..];
    }
    mended.push_str(rest);
    mended
}

/// Appends the escape at the beginning of `from`; the bytes that it took.
fn escape(from: &str, mended: &mut String) -> usize {
    match from.as_bytes().get(1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
            mended.push_str(&from[..2]);
            2
        }
        Some(b'u') => match unit(from) {
            Some(0xd800..0xdc00) if matches!(from.get(6..).and_then(unit), Some(0xdc00..0xe000)) => {
                mended.push_str(&from[..12]);
                12
            }
            Some(0xd800..0xe000) => {
                mended.push_str("\\ufffd");
                6
            }
            Some(_) => {
                mended.push_str(&from[..6]);
                6
            }
            None => doubled(mended),
        },
        _ => doubled(mended),
    }
}

fn doubled(mended: &mut String) -> usize {
    mended.push_str("\\\\");
    1
}

/// The number of a `\u` escape at the beginning of `text`.
fn unit(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    // from_str_radix would take a sign.
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests;
