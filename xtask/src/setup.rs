//! Prepares MLX, and builds the web UI.
//!
//! On macOS mlx-sys builds MLX itself, and this module only checks the tools and sets the deployment target. On Linux the build script of mlx-sys
//! cannot work. A link override in a generated .mlx/cargo.toml makes cargo use the parts prepared here. They are
//! MLX from its PyPI wheel, mlx-c built from the sources in mlx-sys, bindings generated as mlx-sys does, and OpenBLAS.
//! The published crates stay unchanged.

use anyhow::{Context, bail};

mod node;
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
#[cfg(any(target_os = "macos", test))]
mod macos;

pub(crate) use node::node;
pub(crate) use stamp::Stamp;
pub(crate) use tools::python;
pub(crate) use venv::make_venv;

/// Prepares MLX for this system, and builds the web UI, which the gateway embeds. Finished steps are not repeated.
///
/// # Errors
/// One line that names what is missing and how to get it, or the end of a failed step's output.
pub(crate) fn run() -> anyhow::Result<()> {
    #[cfg(target_os = "macos")]
    macos::run()?;
    #[cfg(not(target_os = "macos"))]
    linux::run()?;
    crate::ui::build_if_possible()
}

/// The output of `cargo metadata`.
///
/// # Errors
/// When cargo fails.
pub(crate) fn cargo_metadata() -> anyhow::Result<serde_json::Value> {
    let mut cargo = crate::paths::cargo();
    cargo.args(["metadata", "--format-version", "1", "--locked"]);
    let output = cargo.output().context("cannot run cargo")?;
    if !output.status.success() {
        bail!("cargo metadata failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The metadata folder of a Python package of the build.
///
/// # Errors
/// When the package is not installed, as on macOS.
pub(crate) fn package_metadata(package: &str) -> anyhow::Result<std::path::PathBuf> {
    #[cfg(target_os = "macos")]
    bail!("{package} is not installed on macOS");
    #[cfg(not(target_os = "macos"))]
    linux::package_metadata(package)
}

/// Builds a library that gives MLX OpenBLAS without our kernels. `None` where MLX has its own BLAS, as on macOS.
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
