//! Reads a secret from standard input.

use std::io::{IsTerminal, Read};
use std::process::{Command, Stdio};

/// The first line that a terminal's user enters, without showing it, or else all of standard input. `question` is what a terminal
/// asks for.
///
/// # Errors
/// Standard input fails, or is no UTF-8.
pub(crate) fn read(question: &str) -> std::io::Result<String> {
    let mut text = String::new();
    let input = std::io::stdin();
    if !input.is_terminal() {
        return input.lock().read_to_string(&mut text).map(|_| text);
    }
    let echo = |word: &str| {
        let done = Command::new("stty").arg(word).stdin(Stdio::inherit()).stderr(Stdio::null()).status();
        done.is_ok_and(|status| status.success())
    };
    let is_hidden = echo("-echo");
    note(&if is_hidden { format!("{question} (it is not shown): ") } else { format!("{question}: ") });
    let read = input.read_line(&mut text);
    if is_hidden {
        echo("echo");
        note("\n");
    }
    read.map(|_| text)
}

#[expect(clippy::print_stderr, reason = "a question to the user")]
fn note(text: &str) {
    eprint!("{text}");
}
