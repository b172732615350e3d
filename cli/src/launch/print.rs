//! What `--print` shows.

use std::fmt::Write;

use super::profile::Profile;
use super::setup::{Filled, Setup};

/// In the place of a key.
pub(super) const HIDDEN: &str = "(hidden)";

/// Files, variables and command of a set-up. `notes` are sentences.
pub(super) fn text(setup: &Setup, profile: &Profile, notes: &[String]) -> String {
    let mut text = String::new();
    for note in notes.iter().chain(&setup.outside) {
        let _ = writeln!(text, "note: {note}");
    }
    let _ = writeln!(text, "profile: {}", profile.folder().display());
    for (path, content) in &setup.files {
        let _ = writeln!(text, "\nfile: {}", path.display());
        let body = match content {
            Filled::Json(value) => format!("{value:#}"),
            Filled::Toml(lines) => lines.trim_end().to_owned(),
            Filled::Fetched(path) => format!("the server's answer to GET {path}"),
        };
        for line in body.lines() {
            let _ = writeln!(text, "{}", format!("  {line}").trim_end());
        }
    }
    if !setup.variables.is_empty() {
        let _ = writeln!(text, "\nvariables of {} only:", setup.name);
    }
    for (name, value) in &setup.variables {
        let _ = writeln!(text, "  {name}={}", quoted(value));
    }
    for name in &setup.unset {
        let _ = writeln!(text, "  {name} is not passed on");
    }
    let command: Vec<String> =
        std::iter::once(&setup.program).chain(&setup.arguments).map(|word| quoted(word)).collect();
    let _ = writeln!(text, "\ncommand:\n  {}", command.join(" "));
    text
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,@%+()".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
