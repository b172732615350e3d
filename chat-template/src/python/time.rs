//! `datetime.strftime` with glibc's directives, in the C locale.

use chrono::format::{Item, StrftimeItems};
use chrono::{NaiveDateTime, Timelike};
use minijinja::Error;

/// `time.strftime(format)` of a time without a zone. Unknown directives stay as they are, as with glibc.
pub(crate) fn strftime(time: NaiveDateTime, format: &str) -> Result<String, Error> {
    use std::fmt::Write;
    let mut text = String::new();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        let (directive, after) = rest.split_at(directive_length(rest));
        rest = after;
        match directive {
            "%%" => text.push('%'),
            "%f" => write!(text, "{:06}", time.nanosecond() / 1000)?,
            // A time without a zone has no name and no offset.
            "%z" | "%Z" => {}
            _ if is_known(directive) => write!(text, "{}", time.format(directive))?,
            _ => text.push_str(directive),
        }
    }
    text.push_str(rest);
    Ok(text)
}

/// Bytes of the directive that `text` begins with: a percent sign, perhaps a flag, and a letter.
fn directive_length(text: &str) -> usize {
    let flagged = text[1..].starts_with(['-', '_', '0', '^', '#']);
    let skip = if flagged { 2 } else { 1 };
    text[skip..].chars().next().map_or(text.len(), |letter| skip + letter.len_utf8())
}

fn is_known(directive: &str) -> bool {
    StrftimeItems::new(directive).all(|item| !matches!(item, Item::Error))
        // A zone's offset and name, which this time does not have.
        && !directive.ends_with(['+', ':', '.', 'E', 'O'])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares with the output of Python 3.11 on Linux.
    #[test]
    fn directives_read_as_python_writes_them() {
        let time =
            chrono::NaiveDate::from_ymd_opt(2026, 11, 8).unwrap().and_hms_micro_opt(9, 5, 7, 1234).unwrap();
        for (format, expected) in [
            ("%Y-%m-%d", "2026-11-08"),
            ("%d %B %Y", "08 November 2026"),
            ("%b %-d, %Y", "Nov 8, 2026"),
            ("%A %a %e|%j", "Sunday Sun  8|312"),
            ("%H:%M:%S.%f %p %I", "09:05:07.001234 AM 09"),
            ("%-H %-M %-m", "9 5 11"),
            ("%c|%x|%X", "Sun Nov  8 09:05:07 2026|11/08/26|09:05:07"),
            ("%y %C %u %w %U %W %V %G", "26 20 7 0 45 44 45 2026"),
            ("[%z%Z] 100%% %Q %", "[] 100% %Q %"),
        ] {
            assert_eq!(strftime(time, format).unwrap(), expected, "{format}");
        }
    }
}
