//! What lies beside an archive: its checksum, the install script, and the formula for Homebrew.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use super::output;
use crate::paths;

/// The folder of the files for packages.
const PACKAGING: &str = "packaging";

/// Writes all of it into `out`, where the archive lies.
///
/// # Errors
/// When a file cannot be read or written.
pub(super) fn write(out: &Path, archive: &Path) -> anyhow::Result<()> {
    let name = archive.file_name().and_then(|name| name.to_str()).context("the archive has no name")?;
    let sum = output(Command::new("sha256sum").current_dir(out).arg(name))?;
    fs::write(out.join(format!("{name}.sha256")), &sum)?;
    let packaging = paths::root().join(PACKAGING);
    fs::copy(packaging.join("install.sh"), out.join("install.sh"))?;
    let template = fs::read_to_string(packaging.join("homebrew/mlxd.rb.in"))?;
    let digest = sum.split_whitespace().next().unwrap_or_default();
    let commit = git(&["rev-parse", "HEAD"]).unwrap_or_else(|| "HEAD".into());
    Ok(fs::write(out.join("mlxd.rb"), formula(&template, name, digest, &commit))?)
}

/// What git says about the checkout; `None` outside of one.
pub(super) fn git(arguments: &[&str]) -> Option<String> {
    let text = output(Command::new("git").arg("-C").arg(paths::root()).args(arguments)).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Fills in the template. Its first line is about the template itself.
fn formula(template: &str, archive: &str, digest: &str, commit: &str) -> String {
    let (_, rest) = template.split_once('\n').unwrap_or_default();
    let values = [
        ("@VERSION@", env!("CARGO_PKG_VERSION")),
        ("@ARCHIVE@", archive),
        ("@SHA256@", digest),
        ("@COMMIT@", commit),
    ];
    values.iter().fold(rest.to_owned(), |text, (name, value)| text.replace(name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formula_has_every_value() {
        let template = include_str!("../../../packaging/homebrew/mlxd.rb.in");
        let text = formula(template, "mlxd-1.tar.gz", "abc123", "def456");
        assert!(text.starts_with("class Mlxd < Formula\n"), "{text}");
        for part in
            ["/mlxd-1.tar.gz\"", "sha256 \"abc123\"", "revision: \"def456\"", env!("CARGO_PKG_VERSION")]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("@VERSION@") && !text.contains("@COMMIT@"), "{text}");
    }

    #[test]
    fn install_script_installs_this_version() {
        let script = include_str!("../../../packaging/install.sh");
        let line = format!("\nversion={}\n", env!("CARGO_PKG_VERSION"));
        assert!(script.contains(&line), "packaging/install.sh has another version");
    }
}
