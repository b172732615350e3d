//! Embeds the files of the web UI that `cargo xtask ui` has built. Without them the list is empty, and the page says how to get it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Where that puts them.
const DIST: &str = "../ui/dist";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed={DIST}");
    println!("cargo::rerun-if-changed=build.rs");
    // The paths of the list are absolute. A folder that is not there has no files.
    let dist = fs::canonicalize(DIST).unwrap_or_default();
    let mut list = String::from("static FILES: &[File] = &[\n");
    for folder in [dist.clone(), dist.join("assets")] {
        for path in files(&folder)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let bytes = |path: &Path| format!("include_bytes!({path:?})");
            let packed = |ending: &str| {
                let path = path.with_file_name(format!("{name}.{ending}"));
                if path.exists() { format!("Some({})", bytes(&path)) } else { "None".to_owned() }
            };
            let (plain, brotli, gzip) = (bytes(&path), packed("br"), packed("gz"));
            writeln!(list, "File {{ name: {name:?}, plain: {plain}, brotli: {brotli}, gzip: {gzip} }},")
                .map_err(io::Error::other)?;
        }
    }
    list.push_str("];\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("ui_files.rs"), list)
}

/// The files of a folder that are not compressed forms of others, in order.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(Vec::new()) };
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| {
        let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        path.is_file() && !hidden && !path.extension().is_some_and(|ending| ending == "br" || ending == "gz")
    });
    paths.sort();
    Ok(paths)
}
