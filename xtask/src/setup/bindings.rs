//! Rust declarations for C headers: mlx-c's, as mlx-sys makes them, and our kernels'.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// A version of the generated declarations. Change it when this file generates others from the same headers.
pub(super) const VERSION: &str = "1";

/// mlx-rs expects a tuple struct here, and a plain u16 for bfloat16_t.
const FLOAT16: &str =
    "#[repr(transparent)] #[derive(Debug, Clone, Copy, Default)] pub struct float16_t(pub u16);";

/// Folders of headers.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// mlx-c's sources.
    mlx_c: PathBuf,
    /// The folder with our kernels' headers.
    kernels: PathBuf,
    /// The compiler's own headers.
    compiler: PathBuf,
    /// The output folder for `bindings.rs` and `kernels.rs`.
    out: PathBuf,
}

/// Writes both files.
///
/// # Errors
/// When libclang is not found or does not understand the headers.
pub(crate) fn write(arguments: &Arguments) -> anyhow::Result<()> {
    let entries = fs::read_dir(arguments.mlx_c.join("mlx/c")).context("mlx-c has no headers")?;
    let mut headers: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    headers.retain(|path| path.extension().is_some_and(|extension| extension == "h"));
    headers.sort();
    let mlx_c = builder(arguments, &headers).blocklist_function("malloc").blocklist_function("realloc");
    generate(mlx_c.blocklist_type("float16_t").raw_line(FLOAT16), &arguments.out.join("bindings.rs"))?;
    let headers = ["kernels.h", "blas.h"].map(|name| arguments.kernels.join("mlxd").join(name));
    // The first Rust with that edition.
    let rust = bindgen::RustTarget::stable(85, 0).map_err(|error| anyhow::anyhow!("{error}"))?;
    let kernels = builder(arguments, &headers)
        .rust_target(rust)
        .rust_edition(bindgen::RustEdition::Edition2024)
        .allowlist_item("(mlxd|Mlxd|MLXD).*")
        .allowlist_function("cblas_sgemm")
        .blocklist_type("mlx_.*")
        .generate_comments(false)
        .prepend_enum_name(false)
        .merge_extern_blocks(true);
    generate(kernels, &arguments.out.join("kernels.rs"))
}

fn builder(arguments: &Arguments, headers: &[PathBuf]) -> bindgen::Builder {
    let includes = [&arguments.mlx_c, &arguments.kernels, &arguments.compiler];
    bindgen::Builder::default()
        .clang_args(includes.map(|folder| format!("-I{}", folder.display())))
        .clang_args(["-include".to_owned(), arguments.kernels.join("compat/half.h").display().to_string()])
        .headers(headers.iter().map(|path| path.display().to_string()))
        .formatter(bindgen::Formatter::None)
}

fn generate(builder: bindgen::Builder, output: &Path) -> anyhow::Result<()> {
    let text = builder.generate().context("bindgen")?.to_string();
    // Left alone when unchanged: a new time stamp would make cargo build again.
    if fs::read_to_string(output).is_ok_and(|existing| existing == text) {
        return Ok(());
    }
    fs::write(output, text).context("cannot write the bindings")
}
