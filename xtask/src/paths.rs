//! Paths, and Cargo in the root. All results lie in the git-ignored .mlx/ or in target/.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

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

/// The folder of the web UI.
pub(crate) fn ui() -> PathBuf {
    root().join("ui")
}

/// A file of xtask's own.
pub(crate) fn own(file: &str) -> PathBuf {
    root().join("xtask").join(file)
}

/// A built program.
pub(crate) fn program(name: &str) -> PathBuf {
    root().join("target/release").join(name)
}

/// Cargo in the repository's root, as a shell would start it.
///
/// `cargo xtask` runs this program with variables about its own package. Build scripts that look at them would run again in each
/// build by this program, and in the next one from a shell: `ring` does, and much depends on it.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root());
    let is_own = |name: &str| {
        name.starts_with("CARGO_PKG_")
            || name.starts_with("CARGO_MANIFEST_")
            || name.starts_with("CARGO_BIN_")
    };
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(|name| is_own(name) || name == "OUT_DIR") {
            cargo.env_remove(name);
        }
    }
    cargo
}
