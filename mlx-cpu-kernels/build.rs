//! Linux: compiles the two libraries, and says where they and the libraries that they need lie.
//!
//! `cargo xtask setup` names MLX's folders in the environment (`.mlx/cargo.toml`). The libraries are shared
//! ones: MLX calls `cblas_sgemm`, and only a library that the executable names takes precedence over the
//! reference BLAS in MLX's wheel. Packages that depend on this one find the folders in
//! `DEP_MLXD_KERNELS_FOLDERS`, separated by colons.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Instruction sets, and the compiler's flag for each.
const LEVELS: [(&str, Option<&str>); 3] =
    [("baseline", None), ("avx2", Some("-march=x86-64-v3")), ("avx512", Some("-march=x86-64-v4"))];
const SIMD: [&str; 4] = ["skinny_product", "elementwise", "rows", "table"];
const BLAS: [&str; 4] = ["simd/dispatch", "blas/sgemm", "blas/thread_pool", "blas/forwarded"];
const PRIMITIVES: [&str; 7] =
    ["primitive", "elementwise", "norms", "linear", "attention", "paged_attention", "weights"];

fn main() {
    println!("cargo::rerun-if-env-changed=MLXD_MLX_HEADERS");
    println!("cargo::rerun-if-env-changed=MLXD_MLX_PATHS");
    for folder in ["include", "src"] {
        println!("cargo::rerun-if-changed={folder}");
    }
    if variable("CARGO_CFG_TARGET_OS") != "linux" {
        return;
    }
    let out = PathBuf::from(variable("OUT_DIR"));
    let (headers, libraries) = (prepared("MLXD_MLX_HEADERS"), prepared("MLXD_MLX_PATHS"));
    link(&out, "mlxd_blas", &compile_blas(), &libraries, &["-lscipy_openblas", "-pthread"]);
    let folders = format!("{}:{libraries}", out.display());
    link(&out, "mlxd_kernels", &compile_primitives(&headers), &folders, &["-lmlxd_blas", "-lmlx"]);
    println!("cargo::metadata=folders={folders}");
    println!("cargo::rustc-link-search=native={}", out.display());
    println!("cargo::rustc-link-lib=dylib=mlxd_kernels");
    println!("cargo::rustc-link-lib=dylib=mlxd_blas");
    // For this package's own tests and benchmarks.
    println!("cargo::rustc-link-arg=-Wl,-rpath,{folders}");
    for folder in folders.split(':') {
        println!("cargo::rustc-link-arg=-L{folder}");
    }
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}

/// A path that `cargo xtask setup` has found.
fn prepared(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("MLX is not prepared: run `cargo xtask setup`"))
}

fn compiler() -> cc::Build {
    let mut build = cc::Build::new();
    build.cpp(true).std("gnu++20").opt_level(3).debug(false).pic(true).include("include").include("src");
    // Loops that are marked become vectors; all else computes as written.
    for flag in ["-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math"] {
        build.flag(flag);
    }
    build
}

fn compile_blas() -> Vec<PathBuf> {
    let mut build = compiler();
    let mut objects = build.files(BLAS.map(|name| format!("src/{name}.cpp"))).compile_intermediates();
    let levels = if variable("CARGO_CFG_TARGET_ARCH") == "x86_64" { &LEVELS[..] } else { &LEVELS[..1] };
    for (level, flag) in levels {
        let mut build = compiler();
        // The same sources for each: in a folder each.
        build.out_dir(Path::new(&variable("OUT_DIR")).join(level)).define("MLXD_LEVEL", *level);
        if let Some(flag) = flag {
            build.flag(flag);
        }
        objects.extend(build.files(SIMD.map(|name| format!("src/simd/{name}.cpp"))).compile_intermediates());
    }
    objects
}

fn compile_primitives(headers: &str) -> Vec<PathBuf> {
    let mut build = compiler();
    build.include("include/compat");
    for header in ["half.h", "format"] {
        build.flag("-include").flag(header);
    }
    for folder in headers.split(':') {
        build.flag("-isystem").flag(folder);
    }
    build.files(PRIMITIVES.map(|name| format!("src/mlx/{name}.cpp"))).compile_intermediates()
}

/// Makes a shared library that finds others in `folders`.
fn link(out: &Path, name: &str, objects: &[PathBuf], folders: &str, libraries: &[&str]) {
    let mut link = Command::new(compiler().get_compiler().path());
    link.args(["-shared", "-Wl,-z,defs", "-o"]).arg(out.join(format!("lib{name}.so"))).args(objects);
    link.args([format!("-Wl,-soname,lib{name}.so"), format!("-Wl,-rpath,{folders}")]);
    link.args(folders.split(':').map(|folder| format!("-L{folder}"))).args(libraries);
    let status = link.status().unwrap_or_else(|error| panic!("cannot run the C++ compiler: {error}"));
    assert!(status.success(), "lib{name}.so: the linker failed ({status})");
}
