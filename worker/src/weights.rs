//! Reads model folders: configuration and tensors.
//!
//! The files are not trusted: missing, mis-shaped or truncated parts become a [`LoadError`] that names them. This module
//! yields tensors; layers and models build themselves from them.

use std::path::PathBuf;

pub mod adapter;
pub mod config;
pub mod loader;
mod mapping;
pub mod matrix;
pub mod safetensors;

/// The reason why a model folder cannot be loaded. The text is for the owner of the folder.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        cause: std::io::Error,
    },
    /// The contents of a file are invalid.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// A sentence without the file name.
        problem: String,
    },
    /// The architecture is not supported.
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

/// The first few problems and the number of others.
fn summary(problems: &[String]) -> String {
    const SHOWN: usize = 4;
    let shown = problems.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join("; ");
    match problems.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}
