//! The Jinja environment: minijinja, set up to behave as Jinja2 does under Transformers.

use std::fmt::Write;

use chrono::{DateTime, Local, NaiveDateTime};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{Environment, Error, ErrorKind, escape_formatter};

use crate::{assignments, python};

/// The budget of a rendering. Instructions cost 1, and so do 64 bytes of any text or list that a template makes: so this bounds
/// its time, and its memory to 256 MiB.
const FUEL: u64 = 4_000_000;
/// More for each byte of the conversation: templates copy its texts, some of them a few dozen times.
const FUEL_PER_BYTE: u64 = 1;

/// The budget of a rendering of a conversation with so many bytes.
pub(crate) fn fuel(bytes: usize) -> u64 {
    FUEL + FUEL_PER_BYTE * bytes as u64
}

/// Returns the local time for `strftime_now`.
pub type Clock = fn() -> NaiveDateTime;

/// The machine's local time.
pub(crate) fn local_time() -> NaiveDateTime {
    let now: DateTime<Local> = Local::now();
    now.naive_local()
}

/// An environment without templates.
pub(crate) fn environment(clock: Clock) -> Result<Environment<'static>, String> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.map_err(|e| e.to_string())?);
    environment.set_formatter(|out, state, value| match python::text(state, value)? {
        Some(text) => out.write_str(&text).map_err(Error::from),
        None => escape_formatter(out, state, value),
    });
    environment.set_unknown_method_callback(python::methods::call);
    python::filters::add(&mut environment);
    python::tests::add(&mut environment);
    environment.add_function(assignments::CHECK, assignments::check);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", move |format: &str| python::time::strftime(clock(), format));
    Ok(environment)
}

/// Translates a template from Jinja2, as Transformers configures it, to minijinja.
///
/// - All line ends are newlines, as Jinja2's lexer makes them.
/// - `{% generation %}` marks the model's turns for training and changes no rendering: it becomes `{% if true %}`.
/// - Assignments to attributes are checked ([`assignments`]).
/// - Raw blocks become string literals: minijinja trims white space in them that Jinja2 keeps.
pub(crate) fn to_minijinja(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut rest = &*text;
    let mut out = String::with_capacity(text.len());
    while let Some((before, tag, after)) = next_tag(rest) {
        out.push_str(before);
        rest = after;
        match tag.name {
            "generation" => out.push_str(&tag.text.replacen("generation", "if true", 1)),
            "endgeneration" => out.push_str(&tag.text.replacen("endgeneration", "endif", 1)),
            "raw" => match end_of_raw(after) {
                Some((content, end, behind)) => {
                    push_literal(&mut out, &tag, content, &end);
                    rest = behind;
                }
                None => out.push_str(tag.text),
            },
            _ => out.push_str(tag.text),
        }
    }
    out.push_str(rest);
    assignments::checked(&out)
}

/// A block tag such as `{%- raw %}`.
struct Tag<'a> {
    text: &'a str,
    /// The text without brackets, signs and surrounding spaces.
    name: &'a str,
}

impl<'a> Tag<'a> {
    /// The signs after `{%` and before `%}`; empty if there are none.
    fn signs(&self) -> [&'a str; 2] {
        let inner = &self.text[2..self.text.len() - 2];
        let sign = |found: bool, sign: &'a str| if found { sign } else { "" };
        let first = sign(inner.starts_with(['-', '+']), inner.get(..1).unwrap_or_default());
        let last = sign(
            inner.len() > 1 && inner.ends_with(['-', '+']),
            inner.get(inner.len() - 1..).unwrap_or_default(),
        );
        [first, last]
    }
}

/// The text before the next block tag, the tag, and the text after it.
fn next_tag(text: &str) -> Option<(&str, Tag<'_>, &str)> {
    let start = text.find("{%")?;
    let end = start + text[start..].find("%}")? + 2;
    let tag = &text[start..end];
    let inner = tag.get(2..tag.len() - 2)?;
    let name = inner.trim_matches(|c: char| c.is_whitespace() || matches!(c, '-' | '+'));
    Some((&text[..start], Tag { text: tag, name }, &text[end..]))
}

/// The content of a raw block, its end tag, and the text after it.
fn end_of_raw(text: &str) -> Option<(&str, Tag<'_>, &str)> {
    let mut from = 0;
    loop {
        let (before, tag, after) = next_tag(&text[from..])?;
        if tag.name == "endraw" {
            return Some((&text[..from + before.len()], tag, after));
        }
        from += before.len() + 2;
    }
}

/// Writes a raw block as a block around a string literal, with the white space that Jinja2 keeps in it.
fn push_literal(out: &mut String, start: &Tag<'_>, content: &str, end: &Tag<'_>) {
    let ([before, trims_start], [trims_end, after]) = (start.signs(), end.signs());
    let content = if trims_start == "-" { content.trim_start() } else { content };
    let line = content.rfind('\n').map(|at| at + 1);
    let content = match (trims_end, line) {
        ("-", _) => content.trim_end(),
        // `lstrip_blocks`: the tag stands alone in its line.
        ("", Some(line)) if content[line..].trim().is_empty() => &content[..line],
        _ => content,
    };
    let literal = content.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    out.push_str(&format!("{{%{before} if true %}}{{{{ \"{literal}\" }}}}{{% endif {after}%}}"));
}

#[expect(clippy::needless_pass_by_value, reason = "minijinja hands arguments over")]
fn raise_exception(message: Value) -> Result<String, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message.to_string()))
}

/// The message that a template raised, or the position of its failure.
pub(crate) fn error_message(error: &Error) -> String {
    match error.detail() {
        Some(detail) => detail.to_owned(),
        None => {
            let mut text = String::new();
            // Writing to a string does not fail.
            let _ = write!(text, "{error}");
            text
        }
    }
}
