//! Prepares MLX.
//!
//! On macOS mlx-sys builds MLX itself and only the tools are checked. On Linux its build script cannot
//! work, so cargo is told, by a link override in a generated .mlx/cargo.toml, to use what is put together
//! here: MLX from its PyPI wheel, mlx-c built from mlx-sys's own sources, bindings made as mlx-sys makes
//! them, and OpenBLAS. The crates stay as they are on crates.io.

use std::process::Command;

use anyhow::{Context, bail};

mod stamp;
mod tools;
mod venv;

#[cfg(not(target_os = "macos"))]
pub(crate) mod bindings;
#[cfg(target_os = "macos")]
#[path = "setup/no_bindings.rs"]
pub(crate) mod bindings;
#[cfg(not(target_os = "macos"))]
mod linux;

pub(crate) use stamp::Stamp;
pub(crate) use tools::{python, require_node};
pub(crate) use venv::make_venv;

/// Prepares MLX for this system; what is there already is left alone.
///
/// # Errors
/// One line that names what is missing and how to get it, or the end of a failed step's output.
pub(crate) fn run() -> anyhow::Result<()> {
    #[cfg(target_os = "macos")]
    return tools::require_xcode();
    #[cfg(not(target_os = "macos"))]
    linux::run()
}

/// What `cargo metadata` says of the workspace and its dependencies.
///
/// # Errors
/// When cargo fails.
pub(crate) fn cargo_metadata() -> anyhow::Result<serde_json::Value> {
    let mut cargo = Command::new("cargo");
    cargo.args(["metadata", "--format-version", "1", "--locked"]).current_dir(crate::paths::root());
    let output = cargo.output().context("cannot run cargo")?;
    if !output.status.success() {
        bail!("cargo metadata failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The folder with what a Python package of the build says of itself.
///
/// # Errors
/// When the package is not installed, as on macOS.
pub(crate) fn package_metadata(package: &str) -> anyhow::Result<std::path::PathBuf> {
    #[cfg(target_os = "macos")]
    bail!("{package} is not installed on macOS");
    #[cfg(not(target_os = "macos"))]
    linux::package_metadata(package)
}

/// Makes a library that gives MLX OpenBLAS and nothing of ours; `None` where MLX has a BLAS of its own, as
/// on macOS.
///
/// # Errors
/// When it cannot be compiled.
pub(crate) fn plain_blas() -> anyhow::Result<Option<std::path::PathBuf>> {
    #[cfg(target_os = "macos")]
    return Ok(None);
    #[cfg(not(target_os = "macos"))]
    {
        let library = crate::paths::mlx().join("libopenblas_plain.so");
        linux::plain_blas(&library)?;
        Ok(Some(library))
    }
}
