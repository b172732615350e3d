//! Paths of binaries, models and Python.

use std::path::{Path, PathBuf};

/// The model of tests that read its texts, or its size.
pub const SMOLLM2: &str = "SmolLM2-135M-Instruct";

/// The first four layers of SmolLM2, for most tests: its texts mean nothing. It has a third of the weights.
pub const SHALLOW: &str = "SmolLM2-4-layers";

/// Random weights in Qwen2.5's form, with its tokenizer and chat template.
pub const TOY_QWEN2: &str = "toy-qwen2";

/// Random weights in Qwen3's form, packed in 4 bits, with its tokenizer and chat template.
pub const TOY_QWEN3: &str = "toy-qwen3-4bit";

/// SmolLM2 behind a small vision tower that knows colours. It is in [`seeing`].
pub const SEEING: &str = "SmolLM2-seeing";

/// The model that embeds.
pub const MINILM: &str = "all-MiniLM-L6-v2";

/// The root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn from_env(name: &str, default: &str, hint: &str) -> PathBuf {
    let path = std::env::var_os(name).map_or_else(|| repository().join(default), PathBuf::from);
    // Not canonical: a virtual environment's python is a link that must be called by its own name.
    assert!(path.exists(), "{} is missing: run `{hint}`", path.display());
    path
}

/// A built program.
pub fn binary(name: &str) -> PathBuf {
    from_env("MLXD_BIN_DIR", "target/release", "cargo build --release").join(name)
}

/// The folder of the model that sees.
pub fn seeing() -> PathBuf {
    models().with_file_name("seeing")
}

/// The folder that holds the test models.
pub fn models() -> PathBuf {
    from_env("MLXD_TEST_MODELS", ".mlx/models", "cargo xtask models")
}

/// The folder with environments of other servers for MLX, by their presets.
pub fn backends() -> PathBuf {
    from_env("MLXD_TEST_BACKENDS", ".mlx/backends", "cargo xtask backends")
}

/// The folder with published chat templates.
pub fn templates() -> PathBuf {
    from_env("MLXD_TEST_TEMPLATES", ".mlx/templates", "cargo xtask test")
}

/// The folder whose `node_modules` hold the JavaScript SDKs.
pub fn node() -> PathBuf {
    from_env("MLXD_TEST_NODE", ".mlx/test-node", "cargo xtask test")
}

/// The folder whose `node_modules` hold the coding agents.
pub fn clients() -> PathBuf {
    from_env("MLXD_TEST_CLIENTS", ".mlx/test-clients", "cargo xtask test")
}

/// A Python that can import the SDKs.
pub fn python() -> PathBuf {
    from_env("MLXD_TEST_PYTHON", ".mlx/test-venv/bin/python", "cargo xtask test")
}
