//! Paths of the real test models.

use std::path::{Path, PathBuf};

/// The folder of a model, in `MLXD_TEST_MODELS` or `.mlx/models`.
pub(crate) fn model(name: &str) -> PathBuf {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.mlx/models");
    let folder = std::env::var_os("MLXD_TEST_MODELS").map_or(beside, PathBuf::from).join(name);
    assert!(folder.join("config.json").exists(), "no {}: run `cargo xtask models`", folder.display());
    folder
}
