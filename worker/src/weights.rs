//! Reads model folders: configuration and tensors.
//!
//! Nothing here trusts the files: whatever is missing, mis-shaped or cut off becomes a [`LoadError`] that names it.

use std::path::PathBuf;

pub mod adapter;
pub mod config;
pub mod loader;
mod mapping;
pub mod safetensors;

/// Why a model folder cannot be served. The text is for the person who owns the folder.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// A file can be read but makes no sense.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// We do not have this architecture.
    #[error("model_type \"{found}\" is not supported; supported are {}", ipc_proto::families::names())]
    Architecture {
        /// `model_type` in config.json.
        found: String,
    },
    /// Tensors are missing or have the wrong shape or type.
    #[error("the weights do not fit the configuration: {}", summary(.0))]
    Tensors(Vec<String>),
    /// The device failed while loading.
    #[error("MLX failed while loading: {0}")]
    Device(#[from] mlx_rs::error::Exception),
}

/// The first few problems and how many more there are.
fn summary(problems: &[String]) -> String {
    const SHOWN: usize = 4;
    let shown = problems.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join("; ");
    match problems.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}
