//! The models say what mlx-lm says. The golden files are made by `cargo xtask goldens`.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::{Path, PathBuf};

#[path = "parity/driver.rs"]
mod driver;
#[path = "parity/real.rs"]
mod real;
#[path = "parity/toys.rs"]
mod toys;

/// The folder of a real model.
fn model(name: &str) -> PathBuf {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.mlx/models");
    let folder = std::env::var_os("MLXD_TEST_MODELS").map_or(beside, PathBuf::from).join(name);
    assert!(folder.join("config.json").exists(), "no {}: run `cargo xtask models`", folder.display());
    folder
}
