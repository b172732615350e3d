//! `mlxd`: the command.
#![expect(clippy::print_stderr, reason = "a command reports errors to its user")]
#![expect(clippy::print_stdout, reason = "and prints its result")]

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use supervisor::{Log, ServeError};
use tracing_subscriber::EnvFilter;

mod client;
mod config;
mod doctor;
mod gateway;
mod keys;
mod manual;
mod models;
mod prompt;
mod providers;
mod requests;
mod routes;
mod run;
mod secrets;
mod settings;
mod show;
mod sibling;
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
    /// Ask a model in the terminal, once or in a conversation. Starts a server if none runs.
    Run(run::Flags),
    #[command(flatten)]
    Models(models::Verb),
    #[command(flatten)]
    Client(client::Verb),
    /// Write completions for a shell to standard output.
    Completions { shell: clap_complete::Shell },
    /// Write the manual's pages.
    Man(manual::ManFlags),
}

/// Time that the last lines of the log have to be written.
const LAST_LINES: Duration = Duration::from_millis(500);
/// EX_USAGE of sysexits.h: the configuration is wrong.
const WRONG_CONFIGURATION: u8 = 64;

fn main() -> ExitCode {
    let environment = config::Environment::read();
    match Arguments::parse().command {
        Command::Serve(flags) => serve(flags, environment),
        Command::Doctor(flags) => diagnose(&flags),
        Command::Models(verb) => end(models::run(verb, &environment)),
        Command::Run(flags) => end(run::run(flags, &environment)),
        Command::Completions { shell } => end(manual::completions::<Arguments>(shell)),
        Command::Man(flags) => end(manual::man::<Arguments>(&flags)),
        Command::Client(verb) => match client::run(verb, &environment) {
            Ok(answer) => {
                print!("{}", answer.text);
                eprint!("{}", answer.note);
                ExitCode::SUCCESS
            }
            Err(error) => fail(&error),
        },
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

fn serve(flags: config::Flags, environment: config::Environment) -> ExitCode {
    let filter =
        EnvFilter::try_from_env("MLXD_LOG").unwrap_or_else(|_| EnvFilter::new(ipc_proto::DEFAULT_LOG));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(Log::default).with_ansi(false).init();
    let config = match config::resolve(flags, environment) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("mlxd: {error}");
            return ExitCode::from(WRONG_CONFIGURATION);
        }
    };
    // One thread: the supervisor does little, and the kernel kills children when the thread that started them ends.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let served = runtime.map_err(Into::into).and_then(|runtime| {
        let served = runtime.block_on(supervisor::serve(config));
        // Ends the children. A thread that hangs is not waited for.
        runtime.shutdown_background();
        served
    });
    Log::settle(LAST_LINES);
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mlxd: {error}");
            match error {
                ServeError::Settings { .. } => ExitCode::from(WRONG_CONFIGURATION),
                _ => ExitCode::FAILURE,
            }
        }
    }
}
