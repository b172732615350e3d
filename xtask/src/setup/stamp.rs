//! Remembers what a step was done with, so that it is done again only when that changes.

use std::fs;
use std::path::PathBuf;

use crate::paths;

/// The mark of one step.
#[derive(Debug)]
pub(crate) struct Stamp {
    path: PathBuf,
    inputs: String,
}

impl Stamp {
    /// The mark of step `name`, whose result follows from `inputs`.
    pub(crate) fn new(name: &str, inputs: &[&str]) -> Self {
        // The location counts: several results hold absolute paths.
        let root = paths::root().display().to_string();
        Self {
            path: paths::mlx().join("stamps").join(name),
            inputs: format!("{root}\n{}", inputs.join("\n")),
        }
    }

    /// Runs `work` unless it was done with the same inputs.
    ///
    /// # Errors
    /// The work's own, or when the mark cannot be written.
    pub(crate) fn once(&self, work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
        if fs::read_to_string(&self.path).is_ok_and(|done| done == self.inputs) {
            return Ok(());
        }
        work()?;
        fs::create_dir_all(paths::mlx().join("stamps"))?;
        Ok(fs::write(&self.path, &self.inputs)?)
    }
}
