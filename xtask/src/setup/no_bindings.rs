//! macOS: mlx-sys makes its bindings itself.

use std::path::Path;

/// Never called.
///
/// # Errors
/// Always.
pub(crate) fn write(_: &Path, _: &Path, _: &Path, _: &Path) -> anyhow::Result<()> {
    anyhow::bail!("bindings are made by mlx-sys on macOS")
}
