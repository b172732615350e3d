//! The Jinja environment: minijinja, set up to behave as Jinja2 does under Transformers.

use std::fmt::Write;

use chrono::{DateTime, Local, NaiveDateTime};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{Environment, Error, ErrorKind, escape_formatter};

use crate::python;

/// Instructions one rendering may take: a thousand times what a long conversation needs.
const FUEL: u64 = 50_000_000;

/// Gives the local time that `strftime_now` formats.
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
    environment.set_fuel(Some(FUEL));
    environment.set_formatter(|out, state, value| match python::text(value) {
        Some(text) => out.write_str(&text).map_err(Error::from),
        None => escape_formatter(out, state, value),
    });
    environment.set_unknown_method_callback(python::methods::call);
    python::filters::add(&mut environment);
    python::tests::add(&mut environment);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", move |format: &str| python::time::strftime(clock(), format));
    Ok(environment)
}

/// Replaces `{% generation %}`, which marks the model's turns for training and changes no rendering.
pub(crate) fn without_generation_blocks(text: &str) -> String {
    let mut rest = text;
    let mut out = String::with_capacity(text.len());
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start);
        out.push_str(before);
        let Some(end) = tag.find("%}") else {
            out.push_str(tag);
            return out;
        };
        let (tag, after) = tag.split_at(end + 2);
        let inner = &tag[2..tag.len() - 2];
        let name = inner.trim_matches(|c: char| c.is_whitespace() || matches!(c, '-' | '+'));
        match name {
            "generation" => out.push_str(&tag.replacen("generation", "if true", 1)),
            "endgeneration" => out.push_str(&tag.replacen("endgeneration", "endif", 1)),
            _ => out.push_str(tag),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

#[expect(clippy::needless_pass_by_value, reason = "minijinja hands arguments over")]
fn raise_exception(message: Value) -> Result<String, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message.to_string()))
}

/// A text of what a template raised, or of where it failed.
pub(crate) fn message_of(error: &Error) -> String {
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
