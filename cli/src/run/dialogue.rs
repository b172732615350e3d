//! A conversation in the terminal.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor};
use signal_hook::consts::SIGINT;
use signal_hook::flag;

use super::RunError;
use super::api::{self, Piece};
use super::command::{HELP, Line};
use super::conversation::Conversation;
use crate::generation::Api;

/// Lines of the history.
const HISTORY: usize = 1000;
/// The status of a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;
const PROMPT: &str = ">>> ";
const MORE: &str = "... ";

/// A conversation until the user leaves. `history` is a file with the lines of earlier ones.
pub(super) fn run(api: &Api, mut conversation: Conversation, history: &Path) -> Result<(), RunError> {
    let config = Config::builder().max_history_size(HISTORY)?.auto_add_history(true).build();
    let mut editor: Editor<(), FileHistory> = Editor::with_config(config)?;
    // The first time there is none.
    let _ = editor.load_history(history);
    let stop = Arc::new(AtomicBool::new(false));
    // In an answer Ctrl-C is a signal. A second one, if the answer hangs, ends the program: the first handler sees the flag
    // that the second one sets.
    flag::register_conditional_shutdown(SIGINT, INTERRUPTED, Arc::clone(&stop))?;
    flag::register(SIGINT, Arc::clone(&stop))?;
    say(&format!("{}: /help lists commands, Ctrl-D leaves", conversation.model));
    while let Some(text) = read(&mut editor)? {
        match Line::parse(&text) {
            Line::Exit => break,
            line => follow(line, api, &mut conversation, &stop)?,
        }
    }
    // A history that cannot be kept is no failure of the conversation.
    let _ = editor.save_history(history);
    Ok(())
}

/// A line, which may continue over several. `None` at the end of the input.
fn read(editor: &mut Editor<(), FileHistory>) -> Result<Option<String>, RunError> {
    let mut text = String::new();
    loop {
        match editor.readline(if text.is_empty() { PROMPT } else { MORE }) {
            Ok(line) => match line.strip_suffix('\\') {
                Some(begun) => text.push_str(&format!("{begun}\n")),
                None => return Ok(Some(text + &line)),
            },
            Err(ReadlineError::Interrupted) => text.clear(),
            Err(ReadlineError::Eof) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Does what a line says. What the server refuses is said, and the conversation goes on.
fn follow(line: Line, api: &Api, conversation: &mut Conversation, stop: &AtomicBool) -> Result<(), RunError> {
    match line {
        Line::Question(text) => return ask(api, conversation, &text, stop),
        Line::Retry => match conversation.undo() {
            Some(text) => return ask(api, conversation, &text, stop),
            None => say("there is no question yet"),
        },
        Line::Help => say(HELP.trim_end()),
        Line::Clear => conversation.clear(),
        Line::System(text) => conversation.system = text,
        Line::Temperature(value) => conversation.temperature = value,
        Line::MaxTokens(value) => conversation.max_tokens = value,
        Line::Model(name) => conversation.model = name,
        Line::Save(file) => match std::fs::write(&file, format!("{:#}\n", conversation.request(false))) {
            Ok(()) => say(&format!("written to {file}")),
            Err(error) => say(&format!("{file}: {error}")),
        },
        Line::Wrong(sentence) => say(&sentence),
        Line::Empty | Line::Exit => {}
    }
    Ok(())
}

fn ask(api: &Api, conversation: &mut Conversation, text: &str, stop: &AtomicBool) -> Result<(), RunError> {
    conversation.ask(text);
    stop.store(false, Ordering::Relaxed);
    let mut out = Printer::new();
    let asked = api::stream(api, &conversation.request(true), &|| stop.load(Ordering::Relaxed), |piece| {
        out.print(piece)
    });
    let answer = out.finish()?;
    conversation.answer(&answer);
    match asked {
        Err(RunError::Io(error)) => Err(RunError::Io(error)),
        Err(error) => {
            say(&error.to_string());
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// Prints an answer, its reasoning in a faint colour.
struct Printer {
    answer: String,
    reasons: bool,
    coloured: bool,
}

impl Printer {
    fn new() -> Self {
        let coloured = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { answer: String::new(), reasons: false, coloured }
    }

    fn print(&mut self, piece: Piece) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        let reasons = matches!(piece, Piece::Reasoning(_));
        if reasons != self.reasons {
            self.reasons = reasons;
            let (begin, end) = if self.coloured { ("\x1b[2m", "\x1b[0m\n") } else { ("", "\n") };
            write!(out, "{}", if reasons { begin } else { end })?;
        }
        match piece {
            Piece::Reasoning(text) => write!(out, "{text}")?,
            Piece::Text(text) => {
                write!(out, "{text}")?;
                self.answer.push_str(&text);
            }
        }
        out.flush()
    }

    /// Ends the output. Returns the answer without its reasoning.
    fn finish(self) -> std::io::Result<String> {
        let mut out = std::io::stdout().lock();
        let end = if self.reasons && self.coloured { "\x1b[0m\n" } else { "\n" };
        write!(out, "{end}")?;
        Ok(self.answer)
    }
}

fn say(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}
