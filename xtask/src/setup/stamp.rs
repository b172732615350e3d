//! Records the inputs of a finished step. It runs again only when they change.

use std::fs;
use std::path::PathBuf;

use crate::paths;

/// The record of one step.
#[derive(Debug)]
pub(crate) struct Stamp {
    path: PathBuf,
    inputs: String,
}

impl Stamp {
    /// The record of step `name`, whose result depends on `inputs`.
    pub(crate) fn new(name: &str, inputs: &[&str]) -> Self {
        // The root is an input: several results contain absolute paths.
        let root = paths::root().display().to_string();
        Self {
            path: paths::mlx().join("stamps").join(name),
            inputs: format!("{root}\n{}", inputs.join("\n")),
        }
    }

    /// Forgets that the step has finished.
    ///
    /// # Errors
    /// When the record cannot be removed.
    pub(crate) fn forget(&self) -> anyhow::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Runs `work` unless it has finished with the same inputs.
    ///
    /// # Errors
    /// The work's own, or when the record cannot be written.
    pub(crate) fn once(&self, work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
        if fs::read_to_string(&self.path).is_ok_and(|done| done == self.inputs) {
            return Ok(());
        }
        work()?;
        fs::create_dir_all(paths::mlx().join("stamps"))?;
        Ok(fs::write(&self.path, &self.inputs)?)
    }
}
