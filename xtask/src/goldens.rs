//! Writes the golden files of parity tests by mlx-lm and Transformers from PyPI.

use std::process::Command;

use crate::progress::shown;
use crate::{models, paths, setup};

/// Packages that make the goldens. mlx-lm 0.32.2 is the reference that the models follow.
pub(crate) const PACKAGES: [&str; 5] =
    ["mlx[cpu]==0.32.4", "mlx-lm==0.32.2", "transformers==5.23.0", "tokenizers==0.23.3", "jinja2"];

/// Packages that make the goldens of encoders, of longrope and of models that see.
const READING: [&str; 3] = ["torch==2.15.0", "sentence-transformers==6.2.0", "transformers==5.23.0"];

/// Packages that make the goldens of images.
const IMAGES: [&str; 4] = ["torch==2.15.0", "torchvision==0.29.2", "transformers==5.24.0", "pillow==13.0.0"];

/// Rewrites worker/tests/golden and image-input/tests/golden.
///
/// # Errors
/// When a package or the script fails.
pub(crate) fn run() -> anyhow::Result<()> {
    let embedding = models::fetch("minilm")?;
    let real = ["smollm2", "qwen2", "qwen3"]
        .map(models::fetch)
        .into_iter()
        .collect::<anyhow::Result<Vec<_>>>()?
        .concat();
    let venv = environment()?;
    let mut script = Command::new(venv.join("bin/python"));
    script.arg(paths::own("scripts/goldens.py")).arg(paths::root().join("worker/tests/golden")).args(real);
    shown("goldens.py", &mut script)?;
    let mut script = Command::new(venv.join("bin/python"));
    script.arg(paths::own("scripts/goldens_families.py"));
    script.arg(paths::root().join("worker/tests/golden/families"));
    shown("goldens_families.py", &mut script)?;
    let python = sentence_environment()?.join("bin/python");
    let mut script = Command::new(&python);
    script.arg(paths::own("scripts/goldens_longrope.py"));
    script.arg(paths::root().join("worker/tests/golden/phi3-fp32"));
    shown("goldens_longrope.py", &mut script)?;
    let mut script = Command::new(&python);
    script.arg(paths::own("scripts/goldens_vision.py"));
    script.arg(paths::root().join("worker/tests/golden/vision"));
    shown("goldens_vision.py", &mut script)?;
    let mut script = Command::new(&python);
    script.arg(paths::own("scripts/goldens_reading.py"));
    script.arg(paths::root().join("worker/tests/golden/reading")).args(embedding).env("HF_HUB_OFFLINE", "1");
    shown("goldens_reading.py", &mut script)?;
    let venv = paths::mlx().join("image-venv");
    setup::Stamp::new("image-venv", &IMAGES).once(|| setup::make_venv(&venv, &IMAGES))?;
    let mut script = Command::new(venv.join("bin/python"));
    script.arg(paths::own("scripts/goldens_images.py")).arg(paths::root().join("image-input/tests/golden"));
    shown("goldens_images.py", &mut script)?;
    let mut script = Command::new(venv.join("bin/python"));
    script
        .arg(paths::own("scripts/goldens_image_text.py"))
        .arg(paths::root().join("worker/tests/golden/images"));
    shown("goldens_image_text.py", script.env("HF_HUB_OFFLINE", "1"))
}

/// The environment with sentence-transformers.
///
/// # Errors
/// When a package cannot be fetched.
pub(crate) fn sentence_environment() -> anyhow::Result<std::path::PathBuf> {
    let venv = paths::mlx().join("sentence-venv");
    setup::Stamp::new("sentence-venv", &READING).once(|| setup::make_venv(&venv, &READING))?;
    Ok(venv)
}

/// The environment with mlx-lm.
///
/// # Errors
/// When a package cannot be fetched.
pub(crate) fn environment() -> anyhow::Result<std::path::PathBuf> {
    let venv = paths::mlx().join("mlx-lm-venv");
    setup::Stamp::new("mlx-lm-venv", &PACKAGES).once(|| setup::make_venv(&venv, &PACKAGES))?;
    Ok(venv)
}
