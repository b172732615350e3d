//! macOS: mlx-sys makes its bindings itself.

/// No options.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

/// Never called.
///
/// # Errors
/// Always.
pub(crate) fn write(_: &Arguments) -> anyhow::Result<()> {
    anyhow::bail!("bindings are made by mlx-sys on macOS")
}
