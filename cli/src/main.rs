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
mod prompt;
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
    #[command(flatten)]
    Client(client::Verb),
}

/// Time that the last lines of the log have to be written.
const LAST_LINES: Duration = Duration::from_millis(500);
/// EX_USAGE of sysexits.h: the configuration is wrong.
const WRONG_CONFIGURATION: u8 = 64;

fn main() -> ExitCode {
    let environment = config::Environment::read();
    match Arguments::parse().command {
        Command::Serve(flags) => serve(flags, environment),
        Command::Client(verb) => match client::run(verb, &environment) {
            Ok(answer) => {
                print!("{}", answer.text);
                eprint!("{}", answer.note);
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("mlxd: {error}");
                ExitCode::FAILURE
            }
        },
    }
}

fn serve(flags: config::Flags, environment: config::Environment) -> ExitCode {
    let filter = EnvFilter::try_from_env("MLXD_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
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
