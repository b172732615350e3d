//! Paths. All results lie in the git-ignored .mlx/ or in target/.

use std::path::{Path, PathBuf};

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    // xtask lies one folder below it.
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// The folder for everything that is fetched or built outside cargo.
pub(crate) fn mlx() -> PathBuf {
    root().join(".mlx")
}

/// The folder of the small models.
pub(crate) fn models() -> PathBuf {
    mlx().join("models")
}

/// A file of xtask's own.
pub(crate) fn own(file: &str) -> PathBuf {
    root().join("xtask").join(file)
}

/// A built program.
pub(crate) fn program(name: &str) -> PathBuf {
    root().join("target/release").join(name)
}
