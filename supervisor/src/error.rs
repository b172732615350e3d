//! Reasons why the server cannot start, as users read them.

use std::path::PathBuf;

use crate::home::HomeError;

/// A reason why the server cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be bound.
    #[error(
        "cannot listen on {host}:{port}: {cause} (is another server running? choose another with --port)"
    )]
    Bind {
        /// As configured.
        host: String,
        /// As configured.
        port: u16,
        /// The system's error.
        cause: std::io::Error,
    },
    /// The home directory cannot be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The settings of earlier runs cannot be read.
    #[error("{}: {problem}; correct the file, or delete it to forget the settings in it", path.display())]
    Settings {
        /// The path of `settings.toml`.
        path: PathBuf,
        /// A sentence for the user.
        problem: String,
    },
    /// A program that belongs beside `mlxd` is missing.
    #[error("{} is missing; it belongs beside mlxd (built by `cargo build --release`)", .0.display())]
    Program(PathBuf),
    /// The system refused an operation.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}
