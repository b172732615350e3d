//! Makes the golden files that the worker's parity tests compare with, by mlx-lm and Transformers from PyPI.

use std::process::Command;

use crate::progress::shown;
use crate::{models, paths, setup};

/// What makes them. mlx-lm 0.32.2 is the reference that the models follow.
pub(crate) const PACKAGES: [&str; 5] =
    ["mlx[cpu]==0.32.4", "mlx-lm==0.32.2", "transformers==5.23.0", "tokenizers==0.23.3", "jinja2"];

/// Writes worker/tests/golden anew.
///
/// # Errors
/// When a package or the script fails.
pub(crate) fn run() -> anyhow::Result<()> {
    let real = models::fetch("all")?;
    let venv = environment()?;
    let mut script = Command::new(venv.join("bin/python"));
    script.arg(paths::own("scripts/goldens.py")).arg(paths::root().join("worker/tests/golden")).args(real);
    shown("goldens.py", &mut script)
}

/// The environment with mlx-lm.
///
/// # Errors
/// When a package cannot be had.
pub(crate) fn environment() -> anyhow::Result<std::path::PathBuf> {
    let venv = paths::mlx().join("mlx-lm-venv");
    setup::Stamp::new("mlx-lm-venv", &PACKAGES).once(|| setup::make_venv(&venv, &PACKAGES))?;
    Ok(venv)
}
