//! `mlxd`: the command.
#![expect(clippy::print_stderr, reason = "a command reports errors to its user")]
#![expect(clippy::print_stdout, reason = "and prints its result")]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod client;
mod config;
mod doctor;
mod gateway;
mod generation;
mod hidden;
mod import;
mod keys;
mod launch;
mod login;
mod logs;
mod manual;
mod models;
mod prompt;
mod providers;
mod requests;
mod routes;
mod run;
mod secrets;
mod serve;
mod server;
mod service;
mod settings;
mod show;
mod table;

/// A local AI server for MLX models that speaks OpenAI's and Anthropic's APIs.
#[derive(Parser)]
#[command(name = "mlxd", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve models until Ctrl-C.
    Serve(config::Flags),
    /// Measure this machine: MLX's operations, a model's tokens and rates, memory. Writes a report to attach to an issue.
    Doctor(doctor::Flags),
    /// Measure a model through the running server: first tokens, rates and memory. Starts a server if none runs.
    Bench(bench::Flags),
    /// Ask a model in the terminal, once or in a conversation. Starts a server if none runs.
    Run(run::Flags),
    /// Start a coding agent with this server, in a profile of its own. Starts a server if none runs.
    Launch(launch::Flags),
    /// Take over the models and settings of Ollama, LM Studio, llama-swap, LiteLLM or oMLX.
    Import(import::Flags),
    /// Show the log of a server that runs in the background.
    Logs(logs::Flags),
    /// Have the system start the server at login.
    #[command(subcommand)]
    Service(service::Verb),
    #[command(flatten)]
    Models(models::Verb),
    #[command(flatten)]
    Client(client::Verb),
    #[command(flatten)]
    Folder(client::FolderVerb),
    /// Write completions for a shell to standard output.
    Completions { shell: clap_complete::Shell },
    /// Write the manual's pages.
    Man(manual::ManFlags),
}

fn main() -> ExitCode {
    let environment = config::Environment::read();
    match Arguments::parse().command {
        Command::Serve(flags) => serve::run(flags, environment),
        Command::Doctor(flags) => diagnose(&flags),
        Command::Models(verb) => end(models::run(verb, &environment)),
        Command::Bench(flags) => end(bench::run(flags, &environment)),
        Command::Run(flags) => end(run::run(flags, &environment)),
        Command::Launch(flags) => end(launch::run(flags, &environment)),
        Command::Import(flags) => end(import::run(flags, &environment)),
        Command::Logs(flags) => end(logs::run(flags, &environment)),
        Command::Service(verb) => end(service::run(verb, &environment)),
        Command::Completions { shell } => end(manual::completions::<Arguments>(shell)),
        Command::Man(flags) => end(manual::man::<Arguments>(&flags)),
        Command::Client(verb) => show(client::run(verb, &environment)),
        Command::Folder(verb) => show(client::run_on_folder(verb, &environment)),
    }
}

fn show(answer: Result<client::Answer, client::ClientError>) -> ExitCode {
    match answer {
        Ok(answer) => {
            print!("{}", answer.text);
            eprint!("{}", answer.note);
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error),
    }
}

fn end<E: std::error::Error>(result: Result<(), E>) -> ExitCode {
    result.map_or_else(|error| fail(&error), |()| ExitCode::SUCCESS)
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("mlxd: {error}");
    ExitCode::FAILURE
}

fn diagnose(flags: &doctor::Flags) -> ExitCode {
    match doctor::run(flags) {
        Ok(diagnosis) => {
            print!("{}", diagnosis.text);
            if diagnosis.is_healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => fail(&error),
    }
}
