//! The manual's pages and the shells' completions of an archive, written by `mlxd` itself.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::output;
use crate::paths;

/// Shells, and where each looks for completions below `share`.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "bash-completion/completions/mlxd"),
    ("zsh", "zsh/site-functions/_mlxd"),
    ("fish", "fish/vendor_completions.d/mlxd.fish"),
];

/// Writes everything below `share`.
///
/// # Errors
/// When `mlxd` fails or a file cannot be written.
pub(super) fn write(share: &Path) -> anyhow::Result<()> {
    let mlxd = paths::program("mlxd");
    output(Command::new(&mlxd).args(["man", "--out"]).arg(share.join("man/man1")))?;
    for (shell, place) in COMPLETIONS {
        let file = share.join(place);
        fs::create_dir_all(file.parent().unwrap_or(share))?;
        fs::write(file, output(Command::new(&mlxd).args(["completions", shell]))?)?;
    }
    Ok(())
}
