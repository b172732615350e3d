//! Regular expressions over a text, rewritten to match the text as a JSON string writes it. Pure.
//!
//! Every character has one form: JSON's short escape, else `\u00…` for control characters, else the character itself. So the
//! rewritten expression matches exactly the escaped texts, and its complement among strings is that of the original.

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, Hir, HirKind, Look, Repetition};

/// How a call writes a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextForm {
    /// As it is.
    Raw,
    /// As the content of a JSON string.
    Json,
}

/// The last control character below the space.
const LAST_CONTROL: char = '\u{1f}';

/// Parses a regular expression with Lark's flags. It matches from beginning to end.
///
/// # Errors
/// A sentence without subject.
pub(super) fn parse(pattern: &str, flags: &str) -> Result<Hir, String> {
    let mut builder = ParserBuilder::new();
    for flag in flags.chars() {
        match flag {
            'i' => builder.case_insensitive(true),
            'm' => builder.multi_line(true),
            's' => builder.dot_matches_new_line(true),
            'u' => builder.unicode(true),
            'x' => builder.ignore_whitespace(true),
            other => return Err(format!("has a flag that is not supported: {other}")),
        };
    }
    let parsed = builder.build().parse(pattern);
    parsed.map_err(|error| {
        let error = match &error {
            regex_syntax::Error::Parse(error) => error.kind().to_string(),
            regex_syntax::Error::Translate(error) => error.kind().to_string(),
            _ => "it is invalid".into(),
        };
        format!("has a pattern that cannot be used: {error}")
    })
}

/// The expression for a text in `form`, in Lark between slashes.
///
/// # Errors
/// A sentence without subject: the expression has anchors within, or matches bytes that are no text.
pub(super) fn lark(pattern: &Hir, form: TextForm) -> Result<String, String> {
    let written = write(pattern, form, Ends { start: true, end: true })?.to_string();
    // Lark has no empty expression.
    let written = if written.is_empty() { "(?:)".to_owned() } else { written };
    Ok(format!("/{}/", llguidance::regex_to_lark(&written, "")))
}

/// Whether a part of an expression begins or ends it. Only there, anchors say nothing.
#[derive(Debug, Clone, Copy)]
struct Ends {
    start: bool,
    end: bool,
}

fn write(pattern: &Hir, form: TextForm, ends: Ends) -> Result<Hir, String> {
    let inside = Ends { start: false, end: false };
    Ok(match pattern.kind() {
        HirKind::Empty => Hir::empty(),
        HirKind::Look(Look::Start) if ends.start => Hir::empty(),
        HirKind::Look(Look::End) if ends.end => Hir::empty(),
        HirKind::Look(_) => return Err("has an anchor within a pattern, which is not supported".into()),
        HirKind::Literal(literal) => {
            let text = std::str::from_utf8(&literal.0).map_err(|_| no_text())?;
            Hir::concat(text.chars().map(|c| character(c, form)).collect())
        }
        HirKind::Class(class) => write_class(&characters(class)?, form),
        HirKind::Repetition(repetition) => {
            let sub = Box::new(write(&repetition.sub, form, inside)?);
            Hir::repetition(Repetition { sub, greedy: true, ..*repetition })
        }
        HirKind::Capture(capture) => write(&capture.sub, form, ends)?,
        HirKind::Concat(parts) => {
            let last = parts.len().saturating_sub(1);
            let part = |(at, part)| {
                let ends = Ends { start: ends.start && at == 0, end: ends.end && at == last };
                write(part, form, ends)
            };
            Hir::concat(parts.iter().enumerate().map(part).collect::<Result<_, _>>()?)
        }
        HirKind::Alternation(parts) => {
            let parts = parts.iter().map(|part| write(part, form, ends));
            Hir::alternation(parts.collect::<Result<_, _>>()?)
        }
    })
}

fn no_text() -> String {
    "has a pattern that matches bytes that are no text".into()
}

fn characters(class: &Class) -> Result<ClassUnicode, String> {
    match class {
        Class::Unicode(class) => Ok(class.clone()),
        Class::Bytes(class) => class.to_unicode_class().ok_or_else(no_text),
    }
}

/// A class: the characters that stand for themselves, and the escapes of the others.
fn write_class(class: &ClassUnicode, form: TextForm) -> Hir {
    let mut escaped = ClassUnicode::empty();
    if form == TextForm::Json {
        escaped.push(ClassUnicodeRange::new('\0', LAST_CONTROL));
        escaped.push(ClassUnicodeRange::new('"', '"'));
        escaped.push(ClassUnicodeRange::new('\\', '\\'));
    }
    let mut plain = class.clone();
    plain.difference(&escaped);
    escaped.intersect(class);
    let escapes = escaped.iter().flat_map(|range| range.start()..=range.end());
    let escapes: Vec<Hir> = escapes.map(|c| character(c, form)).collect();
    let plain = Some(plain).filter(|plain| !plain.ranges().is_empty() || escapes.is_empty());
    let plain = plain.map(|plain| Hir::class(Class::Unicode(plain)));
    Hir::alternation(plain.into_iter().chain(escapes).collect())
}

/// One character in its form.
fn character(c: char, form: TextForm) -> Hir {
    let literal = |text: &str| Hir::literal(text.as_bytes());
    if form == TextForm::Raw {
        return literal(c.encode_utf8(&mut [0; 4]));
    }
    match c {
        '"' => literal(r#"\""#),
        '\\' => literal(r"\\"),
        '\n' => literal(r"\n"),
        '\r' => literal(r"\r"),
        '\t' => literal(r"\t"),
        '\u{8}' => literal(r"\b"),
        '\u{c}' => literal(r"\f"),
        c if c <= LAST_CONTROL => {
            let code = u32::from(c);
            let last = char::from_digit(code % 16, 16).unwrap_or('0');
            let cases = [last, last.to_ascii_uppercase()].map(|digit| ClassUnicodeRange::new(digit, digit));
            Hir::concat(vec![
                literal(&format!(r"\u00{}", code / 16)),
                Hir::class(Class::Unicode(ClassUnicode::new(cases))),
            ])
        }
        c => literal(c.encode_utf8(&mut [0; 4])),
    }
}
