//! Methods of Python's strings, lists and dictionaries.

use minijinja::value::{Value, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State};
use minijinja_contrib::pycompat::unknown_method_callback;

/// Calls a method that minijinja does not know.
pub(crate) fn call(
    state: &mut State,
    value: &Value,
    method: &str,
    arguments: &[Value],
) -> Result<Value, Error> {
    let own = match value.kind() {
        ValueKind::String => string(value.as_str().unwrap_or_default(), method, arguments)?,
        ValueKind::Seq => sequence(value, method, arguments)?,
        ValueKind::Map if method == "copy" => from_args::<()>(arguments).map(|()| Some(value.clone()))?,
        _ => None,
    };
    match own {
        Some(result) => Ok(result),
        None => unknown_method_callback(state, value, method, arguments),
    }
}

/// Methods of strings that minijinja-contrib lacks; `None` for all others.
fn string(text: &str, method: &str, arguments: &[Value]) -> Result<Option<Value>, Error> {
    Ok(Some(match method {
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(arguments)?;
            text.strip_prefix(prefix).unwrap_or(text).into()
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(arguments)?;
            text.strip_suffix(suffix).unwrap_or(text).into()
        }
        "partition" => {
            let (separator,): (&str,) = from_args(arguments)?;
            parts(separator, text.split_once(separator), [text, "", ""])?
        }
        "rpartition" => {
            let (separator,): (&str,) = from_args(arguments)?;
            parts(separator, text.rsplit_once(separator), ["", "", text])?
        }
        "rsplit" => rsplit(text, arguments)?,
        "index" => position(text.find(from_args::<(&str,)>(arguments)?.0), text)?,
        "rindex" => position(text.rfind(from_args::<(&str,)>(arguments)?.0), text)?,
        "zfill" => zero_filled(text, from_args::<(usize,)>(arguments)?.0).into(),
        "ljust" | "rjust" | "center" => justified(text, method, arguments)?,
        "casefold" => text.to_lowercase().into(),
        "swapcase" => text.chars().flat_map(swapped).collect::<String>().into(),
        "isdecimal" => (!text.is_empty() && text.chars().all(char::is_numeric)).into(),
        _ => return Ok(None),
    }))
}

fn sequence(value: &Value, method: &str, arguments: &[Value]) -> Result<Option<Value>, Error> {
    match method {
        "copy" => from_args::<()>(arguments).map(|()| Some(value.clone())),
        "index" => {
            let (wanted,): (Value,) = from_args(arguments)?;
            match value.try_iter()?.position(|item| item == wanted) {
                Some(at) => Ok(Some(Value::from(at))),
                None => Err(Error::new(ErrorKind::InvalidOperation, "the value is not in the list")),
            }
        }
        _ => Ok(None),
    }
}

fn parts(separator: &str, found: Option<(&str, &str)>, otherwise: [&str; 3]) -> Result<Value, Error> {
    if separator.is_empty() {
        return Err(Error::new(ErrorKind::InvalidOperation, "empty separator"));
    }
    let parts = found.map_or(otherwise, |(before, after)| [before, separator, after]);
    Ok(parts.into_iter().map(Value::from).collect())
}

/// `str.rsplit(sep=None, maxsplit=-1)`.
fn rsplit(text: &str, arguments: &[Value]) -> Result<Value, Error> {
    let (separator, most): (Option<&str>, Option<i64>) = from_args(arguments)?;
    let most =
        most.and_then(|most| usize::try_from(most).ok()).map_or(usize::MAX, |most| most.saturating_add(1));
    let mut pieces: Vec<&str> = match separator {
        Some("") => return Err(Error::new(ErrorKind::InvalidOperation, "empty separator")),
        Some(separator) => text.rsplitn(most, separator).collect(),
        None => words_from_end(text, most),
    };
    pieces.reverse();
    Ok(pieces.into_iter().map(Value::from).collect())
}

/// At most `most` pieces between runs of white space, the last first; the first of the text keeps its inner spaces.
fn words_from_end(text: &str, most: usize) -> Vec<&str> {
    let mut rest = text.trim();
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let at = rest.rfind(char::is_whitespace).filter(|_| pieces.len() + 1 < most);
        let (before, word) = at.map_or(("", rest), |at| rest.split_at(at));
        pieces.push(word.trim_start());
        rest = before.trim_end();
    }
    pieces
}

/// A position in characters, from one in bytes.
fn position(found: Option<usize>, text: &str) -> Result<Value, Error> {
    match found {
        Some(at) => Ok(Value::from(text[..at].chars().count())),
        None => Err(Error::new(ErrorKind::InvalidOperation, "substring not found")),
    }
}

/// More characters than any template pads to.
const MAX_WIDTH: usize = 10_000;

fn zero_filled(text: &str, width: usize) -> String {
    let (sign, digits) = match text.strip_prefix(['+', '-']) {
        Some(digits) => text.split_at(text.len() - digits.len()),
        None => ("", text),
    };
    let missing = width.min(MAX_WIDTH).saturating_sub(text.chars().count());
    format!("{sign}{}{digits}", "0".repeat(missing))
}

fn justified(text: &str, method: &str, arguments: &[Value]) -> Result<Value, Error> {
    let (width, fill): (usize, Option<&str>) = from_args(arguments)?;
    let fill = fill.unwrap_or(" ");
    let missing = width.min(MAX_WIDTH).saturating_sub(text.chars().count());
    let left = match method {
        "ljust" => 0,
        "rjust" => missing,
        // As CPython: an odd space goes to the left where the width is odd.
        _ => missing / 2 + (missing & width & 1),
    };
    Ok(format!("{}{text}{}", fill.repeat(left), fill.repeat(missing - left)).into())
}

fn swapped(c: char) -> Vec<char> {
    if c.is_uppercase() { c.to_lowercase().collect() } else { c.to_uppercase().collect() }
}

#[cfg(test)]
mod tests {
    use minijinja::Environment;

    /// Compares with Python 3.11's results.
    #[test]
    fn methods_answer_as_in_python() {
        let mut environment = Environment::new();
        environment.set_unknown_method_callback(super::call);
        for (expression, expected) in [
            ("'<think>a'.removeprefix('<think>')", "a"),
            ("'a.py'.removesuffix('.py')", "a"),
            ("'a=b=c'.partition('=')|join('|')", "a|=|b=c"),
            ("'abc'.partition('=')|join('|')", "abc||"),
            ("'a=b=c'.rpartition('=')|join('|')", "a=b|=|c"),
            ("'abc'.rpartition('=')|join('|')", "||abc"),
            ("'a b  c '.rsplit(none, 1)|join('|')", "a b|c"),
            ("' a b  c '.rsplit()|join('|')", "a|b|c"),
            ("'a,b,c'.rsplit(',', 1)|join('|')", "a,b|c"),
            ("'a,b,c'.rsplit(',')|join('|')", "a|b|c"),
            ("'éab'.index('b')", "2"),
            ("'abab'.rindex('b')", "3"),
            ("'-7'.zfill(4)", "-007"),
            ("'ab'.center(5, '*')", "**ab*"),
            ("'ab'.ljust(4, '.')", "ab.."),
            ("'ab'.rjust(4)", "  ab"),
            ("'aB'.swapcase()", "Ab"),
            ("['a', 'b'].index('b')", "1"),
            ("{'a': 1}.copy().a", "1"),
        ] {
            let template = format!("{{{{ {expression} }}}}");
            assert_eq!(environment.render_str(&template, ()).unwrap(), expected, "{expression}");
        }
        for wrong in ["'abc'.index('x')", "'abc'.partition('')", "[1].index(2)", "'a'.split_at(1)"] {
            assert!(environment.render_str(&format!("{{{{ {wrong} }}}}"), ()).is_err(), "{wrong}");
        }
    }
}
