//! `cargo xtask ui`: builds the web UI into ui/dist, whose files the gateway embeds.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::Value;

use crate::progress::step;
use crate::setup::{self, Stamp};
use crate::{paths, test};

/// Options of `cargo xtask ui`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Check the types too.
    #[arg(long)]
    check: bool,
}

/// The sources of the built page, below `ui`.
const SOURCES: [&str; 7] =
    ["src", "public", "index.html", "vite.config.ts", "tsconfig.json", "package.json", "package-lock.json"];

/// Builds the page.
///
/// # Errors
/// When its packages cannot be fetched, or it has an error.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    build()?;
    if arguments.check {
        npm("checking the web UI", &["run", "check"])?;
    }
    Ok(())
}

/// Builds the page, unless the packages cannot be reached: everything else works without it.
///
/// # Errors
/// When the page has an error.
pub(crate) fn build_if_possible() -> anyhow::Result<()> {
    let Err(error) = build() else { return Ok(()) };
    let text = format!("{error:#}");
    let Some(reason) = test::unreachable_registry(&text) else { return Err(error) };
    eprintln!(
        "SKIPPED: the web UI, as npm's registry cannot be reached ({reason}). Get it with `cargo xtask ui`"
    );
    Ok(())
}

fn build() -> anyhow::Result<()> {
    let folder = paths::ui();
    let lock = fs::read_to_string(folder.join("package-lock.json"))?;
    let digest = digest(&folder)?;
    if !folder.join("dist/index.html").exists() {
        Stamp::new("ui", &[]).forget()?;
    }
    Stamp::new("ui", &[&digest]).once(|| {
        if !folder.join("node_modules").exists() {
            Stamp::new("ui-packages", &[]).forget()?;
        }
        Stamp::new("ui-packages", &[&lock]).once(|| npm("fetching the web UI's packages", &["ci"]))?;
        npm("building the web UI", &["run", "build"])
    })
}

fn npm(what: &str, arguments: &[&str]) -> anyhow::Result<()> {
    step(what, setup::node()?.command("npm").args(arguments).current_dir(paths::ui()))
}

/// A number that changes with the sources.
fn digest(folder: &Path) -> anyhow::Result<String> {
    let mut files = Vec::new();
    for source in SOURCES {
        collect(&folder.join(source), &mut files)?;
    }
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        (file, bytes).hash(&mut hasher);
    }
    Ok(format!("{:016x}", hasher.finish()))
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        collect(&entry?.path(), files)?;
    }
    Ok(())
}

/// The packages whose code is in the page, with their licenses: those that no tool alone needs.
///
/// # Errors
/// When the lockfile cannot be read.
pub(crate) fn packages() -> anyhow::Result<Vec<(String, String)>> {
    let lock: Value = serde_json::from_str(&fs::read_to_string(paths::ui().join("package-lock.json"))?)?;
    let all = lock["packages"].as_object().context("package-lock.json has no packages")?;
    let shipped = all
        .iter()
        .filter(|(path, package)| !path.is_empty() && package["dev"] != true && package["optional"] != true);
    let license = |package: &Value| package["license"].as_str().unwrap_or_default().to_owned();
    Ok(shipped.map(|(path, package)| (path.clone(), license(package))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As in deny.toml. A choice counts if one of its licenses is in the list.
    const ALLOWED: [&str; 6] = ["MIT", "Apache-2.0", "BSD-3-Clause", "ISC", "Unicode-3.0", "Zlib"];

    #[test]
    fn packages_of_the_page_have_allowed_licenses() {
        let packages = packages().unwrap();
        assert!(packages.iter().any(|(path, _)| path == "node_modules/svelte"), "{packages:?}");
        for (path, license) in packages {
            let mut choices = license.trim_matches(['(', ')']).split(" OR ");
            assert!(choices.any(|choice| ALLOWED.contains(&choice)), "{path}: {license}");
        }
    }

    #[test]
    fn lockfile_names_no_registry() {
        let lock = fs::read_to_string(paths::ui().join("package-lock.json")).unwrap();
        assert!(!lock.contains("\"resolved\""), "npm install writes addresses without ui/.npmrc");
    }
}
