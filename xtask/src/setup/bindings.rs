//! Rust bindings for mlx-c's headers, as mlx-sys makes them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// mlx-rs expects a tuple struct here, and a plain u16 for bfloat16_t.
const FLOAT16: &str =
    "#[repr(transparent)] #[derive(Debug, Clone, Copy, Default)] pub struct float16_t(pub u16);";

/// Writes `output` from the headers in `mlx_c`, with `header` put in front and the C standard headers in `include`.
///
/// # Errors
/// When libclang is not found or does not understand the headers.
pub(crate) fn write(mlx_c: &Path, output: &Path, header: &Path, include: &Path) -> anyhow::Result<()> {
    let entries = fs::read_dir(mlx_c.join("mlx/c")).context("mlx-c has no headers")?;
    let mut headers: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    headers.retain(|path| path.extension().is_some_and(|extension| extension == "h"));
    headers.sort();
    let builder = bindgen::Builder::default()
        .clang_args([format!("-I{}", mlx_c.display()), format!("-I{}", include.display())])
        .clang_args(["-include".to_owned(), header.display().to_string()])
        .headers(headers.iter().map(|path| path.display().to_string()))
        .formatter(bindgen::Formatter::None)
        .blocklist_function("malloc")
        .blocklist_function("realloc")
        .blocklist_type("float16_t")
        .raw_line(FLOAT16);
    builder.generate().context("bindgen")?.write_to_file(output).context("cannot write the bindings")
}
