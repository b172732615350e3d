//! The licenses of an archive's contents.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use serde_json::Value;

use super::output;
use crate::{paths, setup, ui};

/// The beginnings of license files' names.
const TEXTS: [&str; 5] = ["LICENSE", "LICENCE", "COPYING", "NOTICE", "UNLICENSE"];
/// Folders of third-party sources inside crates.
const NESTED: [(&str, &str); 2] = [("mlx-sys", "src/mlx-c"), ("onig_sys", "oniguruma")];

/// The license of crates whose packages have no text.
const WITHOUT_TEXT: &str = "Apache-2.0";

/// Copies all license texts into `folder`: mlxd's own, the libraries' and the crates'.
///
/// # Errors
/// When one is missing.
pub(super) fn collect(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    for name in ["LICENSE-MIT", "LICENSE-APACHE"] {
        fs::copy(paths::root().join(name), folder.join(format!("mlxd-{name}")))?;
    }
    // OpenBLAS's text covers LAPACK and GCC's run-time libraries too.
    for (package, file, name) in
        [("mlx_cpu", "LICENSE", "MLX"), ("scipy_openblas32", "LICENSE.txt", "OpenBLAS")]
    {
        let text = setup::package_metadata(package)?.join("licenses").join(file);
        fs::copy(&text, folder.join(name)).with_context(|| format!("{} is missing", text.display()))?;
    }
    crates(&folder.join("crates"))?;
    page(&folder.join("web-ui"))
}

/// Writes a folder with the license texts of each package in the web UI.
fn page(folder: &Path) -> anyhow::Result<()> {
    if !paths::ui().join("dist/index.html").exists() {
        return Ok(());
    }
    let mut table = String::from("| Package | License |\n|---|---|\n");
    for (path, license) in ui::packages()? {
        let name = path.trim_start_matches("node_modules/");
        writeln!(table, "| {name} | {license} |")?;
        copy_texts(&paths::ui().join(&path), &folder.join(name.replace('/', "-")))?;
    }
    Ok(fs::write(folder.join("README.md"), table)?)
}

/// Writes a folder with the license texts of each linked crate, and a table of all crates.
fn crates(folder: &Path) -> anyhow::Result<()> {
    let linked = linked_crates()?;
    let metadata = setup::cargo_metadata()?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let mut table = String::from("| Crate | Version | License | Text |\n|---|---|---|---|\n");
    for package in packages {
        let field = |name: &str| package[name].as_str().unwrap_or_default();
        let (name, version) = (field("name"), field("version"));
        if package["source"] == Value::Null || !linked.contains(&format!("{name} v{version}")) {
            continue;
        }
        let source = Path::new(field("manifest_path")).parent().context("a manifest without a folder")?;
        let target = folder.join(format!("{name}-{version}"));
        copy_texts(source, &target)?;
        let text = if target.exists() { "in its folder" } else { "none in its package" };
        if !target.exists() && !field("license").contains(WITHOUT_TEXT) {
            bail!("{name} {version} has no license text, and is not under {WITHOUT_TEXT}");
        }
        writeln!(table, "| {name} | {version} | {} | {text} |", field("license"))?;
        for (_, nested) in NESTED.iter().filter(|(of, _)| *of == name) {
            copy_texts(&source.join(nested), &target.join(nested.replace('/', "-")))?;
        }
    }
    write!(table, "\nA crate without a text is used under {WITHOUT_TEXT}: `../mlxd-LICENSE-APACHE`.\n")?;
    Ok(fs::write(folder.join("README.md"), table)?)
}

/// `name vVERSION` of each crate that a program links.
fn linked_crates() -> anyhow::Result<BTreeSet<String>> {
    let mut tree = paths::cargo();
    tree.args(["tree", "--locked", "--edges", "normal", "--prefix", "none"]);
    tree.args([
        "--package",
        "cli",
        "--package",
        "gateway",
        "--package",
        "hub",
        "--package",
        "runner",
        "--package",
        "worker",
        "--format",
        "{p}",
    ]);
    let text = output(&mut tree)?;
    let words = |line: &str| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    Ok(text.lines().map(words).collect())
}

fn copy_texts(source: &Path, target: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(source)?.filter_map(Result::ok) {
        let name = entry.file_name();
        let upper = name.to_string_lossy().to_uppercase();
        if entry.path().is_file() && TEXTS.iter().any(|start| upper.starts_with(start)) {
            fs::create_dir_all(target)?;
            fs::copy(entry.path(), target.join(name))?;
        }
    }
    Ok(())
}
