//! Keeps templates from making values that hold themselves. Whatever reads such a value, such as a comparison or a text of it,
//! would go on until the stack overflows.
//!
//! Only an assignment to a namespace's attribute changes a value. So each of them gets a check of the assigned value.

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind, State};

/// The name of the check in templates.
pub(crate) const CHECK: &str = "_assignable";

/// Values that cost as much as an instruction to look at.
const VALUES_PER_FUEL: u64 = 4;

/// Adds a [`CHECK`] to each assignment to an attribute: `{% set a.b = c %}` becomes `{% set a.b = _assignable((c)) %}`.
pub(crate) fn checked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, tag, after)) = next_tag(rest) {
        out.push_str(before);
        match assignment(tag) {
            Some((target, value, end)) => out.push_str(&format!("{target}{CHECK}(({value})){end}")),
            None => out.push_str(tag),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// The text before the next tag, expression or comment, that itself, and the text after it.
fn next_tag(text: &str) -> Option<(&str, &str, &str)> {
    let opens = |at: &usize| ["{%", "{{", "{#"].iter().any(|open| text[*at..].starts_with(open));
    let start = text.match_indices('{').map(|(at, _)| at).find(opens)?;
    let tag = &text[start..];
    let length = match &tag[..2] {
        "{#" => tag.find("#}").map(|at| at + 2),
        "{%" => end_outside_strings(tag, "%}"),
        _ => end_outside_strings(tag, "}}"),
    };
    // minijinja reports a tag without an end.
    let (tag, after) = tag.split_at(length.unwrap_or(tag.len()));
    Some((&text[..start], tag, after))
}

/// The length of a tag that ends with `end`, which may also occur in strings.
fn end_outside_strings(tag: &str, end: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in tag.char_indices().skip(2) {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if matches!(c, '"' | '\'') => quote = Some(c),
            None if tag[at..].starts_with(end) => return Some(at + end.len()),
            None => {}
        }
    }
    None
}

/// The parts of a tag that assigns to an attribute: up to the equals sign, the value, and the end.
fn assignment(tag: &str) -> Option<(&str, &str, &str)> {
    let inner = tag.strip_prefix("{%")?.trim_start_matches(['-', '+']).trim_start();
    let assigned = inner.strip_prefix("set")?;
    assigned.starts_with(char::is_whitespace).then_some(())?;
    let equals = tag.find('=')?;
    let (target, value) = tag.split_at(equals + 1);
    target.contains('.').then_some(())?;
    let value_end = value.strip_suffix("%}")?.trim_end_matches(['-', '+']).len();
    let (value, end) = value.split_at(value_end);
    Some((target, value, end))
}

/// The value, unless it holds a namespace: that may be the one that is assigned to.
#[expect(clippy::needless_pass_by_value, reason = "minijinja hands arguments over")]
pub(crate) fn check(state: &State, value: Value) -> Result<Value, Error> {
    let mut seen = 0;
    if holds_namespace(&value, &mut seen, &|| state.consume_fuel(1))? {
        return Err(Error::new(ErrorKind::InvalidOperation, "a namespace cannot hold another one"));
    }
    Ok(value.clone())
}

fn holds_namespace(
    value: &Value,
    seen: &mut u64,
    pay: &dyn Fn() -> Result<(), Error>,
) -> Result<bool, Error> {
    *seen += 1;
    if seen.is_multiple_of(VALUES_PER_FUEL) {
        pay()?;
    }
    let is_map = match value.kind() {
        ValueKind::Map => true,
        ValueKind::Seq | ValueKind::Iterable => false,
        _ => return Ok(false),
    };
    if value.as_object().is_some_and(|object| object.type_name().ends_with("Namespace")) {
        return Ok(true);
    }
    for item in value.try_iter().into_iter().flatten() {
        let item = if is_map { value.get_item(&item).unwrap_or_default() } else { item };
        if holds_namespace(&item, seen, pay)? {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_to_attributes_are_checked() {
        for (text, expected) in [
            ("{% set n.a = b %}", "{% set n.a =_assignable(( b ))%}"),
            ("a{%- set n.a = b -%}c", "a{%- set n.a =_assignable(( b ))-%}c"),
            ("{% set n.a, m = 1, 2 %}", "{% set n.a, m =_assignable(( 1, 2 ))%}"),
            ("{% set n.a = '%}' ~ \"'%}\" %}b", "{% set n.a =_assignable(( '%}' ~ \"'%}\" ))%}b"),
            (
                "{{ '{% set n.a = b %}' }}{% set n.a = 'é' %}",
                "{{ '{% set n.a = b %}' }}{% set n.a =_assignable(( 'é' ))%}",
            ),
            ("{# {{ ' #}{%set n.a=b%}", "{# {{ ' #}{%set n.a=_assignable((b))%}"),
        ] {
            assert_eq!(checked(text), expected);
        }
    }

    #[test]
    fn other_tags_stay_as_they_are() {
        for text in [
            "{% set a = b.c %}",
            "{% set n.a %}text{% endset %}",
            "{% if a.b == 1 %}{% settle n.a = 1 %}",
            "{ {% set",
            "é{{ a.b }}{",
            "{# {% set n.a = b %} #}",
        ] {
            assert_eq!(checked(text), text);
        }
    }
}
