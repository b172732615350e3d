//! Python environments of our own: nothing is installed into the user's.

use std::path::Path;
use std::process::Command;

use super::tools::python;
use crate::progress::step;

/// Makes a virtual environment with `packages`.
///
/// # Errors
/// When Python or pip fail.
pub(crate) fn make_venv(venv: &Path, packages: &[&str]) -> anyhow::Result<()> {
    step("making a Python environment", Command::new(python()?).args(["-m", "venv", "--clear"]).arg(venv))?;
    let mut pip = Command::new(venv.join("bin/python"));
    pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off"]).args(packages);
    step(&format!("fetching {}", packages.join(", ")), &mut pip)
}
