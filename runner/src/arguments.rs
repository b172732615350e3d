//! The command line of `mlxd-runner`.

use std::path::PathBuf;

use clap::Parser;

/// Runs a program that serves a model over HTTP.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Arguments {
    /// The socket for the supervisor's calls.
    #[arg(long)]
    pub socket: PathBuf,
    /// The socket whose connections go to the program.
    #[arg(long)]
    pub http: PathBuf,
    /// The model's name, for the log.
    #[arg(long)]
    pub name: String,
    /// The path whose success says that the program is ready.
    #[arg(long)]
    pub health: String,
    /// Seconds that the program has until then.
    #[arg(long)]
    pub start_seconds: u64,
    /// End with standard input, and take all processes of the group along.
    #[arg(long)]
    pub lifeline: bool,
    /// The program and its arguments. `{port}` in them becomes the port.
    #[arg(last = true, required = true)]
    pub command: Vec<String>,
}
