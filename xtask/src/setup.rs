//! Prepares MLX.
//!
//! On macOS mlx-sys builds MLX itself and only the tools are checked. On Linux its build script cannot work, so cargo is
//! told, by a link override in a generated .mlx/cargo.toml, to use what is put together here: MLX from its PyPI wheel,
//! mlx-c built from mlx-sys's own sources, bindings made as mlx-sys makes them, a small shim with a fast BLAS, and kernels
//! that MLX's CPU backend lacks. The crates stay as they are on crates.io.

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

/// Makes a library that gives MLX OpenBLAS and nothing of ours; `None` where MLX has a BLAS of its own, as on macOS.
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
