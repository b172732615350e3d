//! `mlxd-gateway render`: renders the prompt of one chat request, for the command line. It needs no HTTP address and no key: only
//! the server's own user can open the supervisor's socket.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;
use ipc_proto::gateway::GatewayConfig;
use ipc_proto::prompt::TokenizeRequest;
use ipc_proto::{Error, ErrorKind, Origin, Result};
use serde::Serialize;

use crate::access::Tenant;
use crate::backends::local::LocalBackend;
use crate::dispatch::{Dispatcher, Target};
use crate::fleet::{Catalogue, FleetClient};
use crate::protocols::common::{body, model_choice};
use crate::protocols::openai::chat::parse as chat;
use crate::protocols::prompts::wire::{Rendered, Token};
use crate::protocols::prompts::write as translate;

/// The first argument of a gateway that only renders.
pub const COMMAND: &str = "render";

/// Reads a chat request from standard input and writes its prompt to standard output, as `POST /v1/chat/completions/render` answers.
#[derive(Debug, Parser)]
#[command(name = "mlxd-gateway render", version)]
pub struct Arguments {
    /// The supervisor's socket.
    #[arg(long)]
    supervisor: PathBuf,
    /// Add each token's text.
    #[arg(long)]
    pieces: bool,
}

/// The prompt, and the text of each token if requested.
#[derive(Debug, Serialize)]
struct Answer {
    #[serde(flatten)]
    rendered: Rendered,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tokens: Vec<Token>,
}

/// Renders the request on standard input. Writes an error as one sentence to standard error. Returns the exit status.
///
/// # Errors
/// Standard input or output fails.
pub fn run() -> std::io::Result<i32> {
    let arguments = Arguments::parse_from(std::env::args_os().skip(1));
    let mut body = Vec::new();
    std::io::stdin().read_to_end(&mut body)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(answer(arguments, &body)) {
        Ok(answer) => std::io::stdout().write_all(answer.as_bytes()).map(|()| 0),
        Err(error) => writeln!(std::io::stderr(), "{error}").map(|()| 1),
    }
}

/// The answer to the chat request in `body`, as one line of JSON.
///
/// # Errors
/// A wrong request, an unknown or broken model, a template that refuses the conversation.
pub async fn answer(arguments: Arguments, body: &[u8]) -> Result<String> {
    let fleet = Arc::new(FleetClient::new(arguments.supervisor));
    let mut request = body::parse(body)?;
    model_choice::fill(&Catalogue::new(Arc::clone(&fleet)), &mut request).await?;
    let request = chat::parse(request)?.request;
    let dispatcher =
        Dispatcher::new(Arc::new(LocalBackend::new(fleet, false)), GatewayConfig::default().recoveries);
    let model = request.model.clone();
    let mut tokens = Vec::new();
    if arguments.pieces {
        let prompt = request.generation.prompt.clone();
        let tokenize = TokenizeRequest { prompt, add_special: false, parse_special: true, pieces: true };
        let target = Target { model: model.clone(), ..Target::default() };
        tokens = translate::plain_tokens(dispatcher.tokenize(&target, &tokenize).await?, true).tokens;
    }
    let (target, prompts) = Target::from_prompts(Tenant::default(), request.into());
    let prompt = dispatcher.render(&target, &prompts).await?.remove(0);
    let answer = Answer { rendered: translate::rendered(model, prompt), tokens };
    let unwritable = |e: serde_json::Error| Error::new(ErrorKind::Internal, Origin::Gateway, e.to_string());
    Ok(serde_json::to_string(&answer).map_err(unwritable)? + "\n")
}
