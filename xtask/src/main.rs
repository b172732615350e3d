//! `cargo xtask`: development tasks.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool")]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod backends;
mod bench;
mod demo;
mod dist;
mod goldens;
mod health;
mod models;
mod paths;
mod pictures;
mod progress;
mod setup;
mod templates;
mod test;
mod ui;

/// Development tasks of mlxd.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Prepare MLX for this system (Linux: into .mlx/; macOS: checks the tools), and build the web UI.
    Setup,
    /// Fetch small real models and make toy models in .mlx/models.
    Models {
        /// Which: smollm2, shallow (its first four layers), minilm, qwen2 or qwen3 (toys of these forms), or all.
        #[arg(default_value = "all")]
        which: String,
    },
    /// Set up, build, serve a small model and ask it a question.
    Demo(demo::Arguments),
    /// Prepare models and packages for the tests and run all tests.
    Test {
        /// More arguments for `cargo test`, to choose among the tests.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Build the programs and pack them with the libraries they need into target/dist (Linux).
    Dist(dist::Arguments),
    /// Rewrite the golden files with mlx-lm and Transformers.
    Goldens,
    /// Measure decoding, TTFT, overhead and footprint beside mlx-lm; writes bench/results.
    Bench(bench::Arguments),
    /// Install other servers for MLX into .mlx/backends, and try each as a backend.
    Backends(backends::Arguments),
    /// Draw the documentation's pictures of the web UI anew, with Chromium.
    Pictures,
    /// Build the web UI, which the gateway embeds when it is built next.
    Ui(ui::Arguments),
    #[command(hide = true)]
    Bindings(setup::bindings::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Setup => setup::run(),
        Task::Models { which } => models::fetch(&which).map(drop),
        Task::Demo(arguments) => demo::run(&arguments),
        Task::Test { arguments } => test::run(&arguments),
        Task::Dist(arguments) => dist::run(&arguments),
        Task::Goldens => goldens::run(),
        Task::Bench(arguments) => bench::run(&arguments),
        Task::Backends(arguments) => backends::run(&arguments),
        Task::Pictures => pictures::run(),
        Task::Ui(arguments) => ui::run(&arguments),
        Task::Bindings(arguments) => setup::bindings::write(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line, causes included; never a backtrace.
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
