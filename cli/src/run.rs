//! `mlxd run`: asks a model in the terminal, once or in a conversation.
//!
//! It is a client of the server's HTTP API like any other. If no server runs, it starts one and says so.

use std::io::{IsTerminal, Read, Write};

use crate::client::Home;
use crate::config::{self, ConfigError, Environment};
use crate::generation::{Api, ApiError};
use crate::server::{self, ServerError};

mod api;
mod command;
mod conversation;
mod dialogue;

use api::Piece;
use conversation::Conversation;

/// Options of the command.
#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    /// The model: an id, an alias, a provider's model or a route.
    model: String,
    /// The prompt. Text from a pipe follows it [default: the pipe's text, or a conversation].
    prompt: Vec<String>,
    /// The system message.
    #[arg(long)]
    system: Option<String>,
    /// Tokens of an answer at most.
    #[arg(long, value_name = "N")]
    max_tokens: Option<u32>,
    /// 0 for the most likely tokens, more for variety [default: the model's].
    #[arg(long)]
    temperature: Option<f64>,
    /// Write the API's answer in JSON, once it is complete.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    home: Home,
}

/// A reason why the command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("there is no prompt: write it after the model's name")]
    NoPrompt,
    #[error("the line editor failed: {0}")]
    Editor(#[from] rustyline::error::ReadlineError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Asks, and prints the answer.
pub(crate) fn run(flags: Flags, environment: &Environment) -> Result<(), RunError> {
    let is_terminal = std::io::stdin().is_terminal();
    let prompt = prompt(&flags.prompt, is_terminal)?;
    let home = config::home(flags.home.folder(), environment)?;
    let address = server::ensure(&home)?;
    let api = Api::new(&address, environment.variable("MLXD_API_KEY"));
    let mut conversation = Conversation::new(flags.model);
    conversation.system = flags.system;
    conversation.max_tokens = flags.max_tokens;
    conversation.temperature = flags.temperature;
    let Some(prompt) = prompt else {
        return dialogue::run(&api, conversation, &home.join("history"));
    };
    conversation.ask(&prompt);
    if flags.json {
        let answer = api.whole(api::PATH, &conversation.request(false))?;
        writeln!(std::io::stdout().lock(), "{answer}")?;
        return Ok(());
    }
    let mut out = std::io::stdout().lock();
    api::stream(&api, &conversation.request(true), &|| false, |piece| match piece {
        Piece::Text(text) => write!(out, "{text}").and_then(|()| out.flush()),
        // A pipe wants the answer alone.
        Piece::Reasoning(_) => Ok(()),
    })?;
    writeln!(out)?;
    Ok(())
}

/// The words of the command line, and the text of a pipe. `None` for a conversation.
fn prompt(words: &[String], is_terminal: bool) -> Result<Option<String>, RunError> {
    let mut piped = String::new();
    if !is_terminal {
        std::io::stdin().lock().read_to_string(&mut piped)?;
    }
    let parts = [words.join(" "), piped.trim_end().to_owned()];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.trim().is_empty()).collect();
    match (parts.is_empty(), is_terminal) {
        (false, _) => Ok(Some(parts.join("\n\n"))),
        (true, true) => Ok(None),
        (true, false) => Err(RunError::NoPrompt),
    }
}
