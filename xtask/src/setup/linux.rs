//! Linux: puts MLX, OpenBLAS, mlx-c and bindings together in .mlx/. The crate `mlx-cpu-kernels` builds on
//! them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::{Stamp, bindings, tools, venv};
use crate::paths;
use crate::progress::step;

/// Packages of the venv. mlx-c of mlx-sys requires this version of MLX.
const PACKAGES: [&str; 5] = [
    "mlx-cpu==0.32.2",
    "cmake==4.4.4",
    "ninja==1.13.2",
    "libclang==18.1.1",
    "scipy-openblas32==0.3.34.481.3",
];
const MLX_SYS: &str = "0.7.0";

/// Declarations that mlx-c's and MLX's headers need with older compilers, and our kernels' C interface.
const HALF: &str = include_str!("../../../mlx-cpu-kernels/include/compat/half.h");
const FORMAT: &str = include_str!("../../../mlx-cpu-kernels/include/compat/format");
const KERNELS: &str = include_str!("../../../mlx-cpu-kernels/include/mlxd/kernels.h");
const SIMD: &str = include_str!("../../../mlx-cpu-kernels/include/mlxd/simd.h");
const BLAS: &str = include_str!("../../../mlx-cpu-kernels/include/mlxd/blas.h");

struct Layout {
    mlx: PathBuf,
    venv: PathBuf,
    packages: PathBuf,
    mlx_c: PathBuf,
}

/// Runs every step whose result is missing.
pub(super) fn run() -> anyhow::Result<()> {
    tools::require_compilers()?;
    let mlx = paths::mlx();
    fs::create_dir_all(&mlx)?;
    let environment = mlx.join("venv");
    Stamp::new("venv", &PACKAGES).once(|| venv::make_venv(&environment, &PACKAGES))?;
    let packages = site_packages(&environment)?;
    let layout = Layout { mlx_c: Path::new(&mlx_c_source()?).to_owned(), mlx, venv: environment, packages };
    Stamp::new("mlx-c", &[MLX_SYS, HALF, FORMAT]).once(|| build_mlx_c(&layout))?;
    let headers = [MLX_SYS, bindings::VERSION, HALF, KERNELS, SIMD, BLAS];
    Stamp::new("bindings", &headers).once(|| make_bindings(&layout))?;
    write_cargo_config(&layout)
}

fn site_packages(venv: &Path) -> anyhow::Result<PathBuf> {
    let lib = venv.join("lib");
    let entries = fs::read_dir(&lib)
        .with_context(|| format!("{} is missing: remove .mlx and try again", lib.display()))?;
    let pythons = entries.filter_map(Result::ok).map(|entry| entry.path().join("site-packages"));
    pythons.into_iter().find(|path| path.is_dir()).context("the Python environment has no site-packages")
}

/// The `dist-info` folder of an installed package.
pub(super) fn package_metadata(package: &str) -> anyhow::Result<PathBuf> {
    let packages = site_packages(&paths::mlx().join("venv"))?;
    let entries = fs::read_dir(&packages)?.filter_map(Result::ok);
    let start = format!("{package}-");
    let mut folders = entries.filter(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name.starts_with(&start) && name.ends_with(".dist-info")
    });
    folders.next().map(|entry| entry.path()).with_context(|| format!("{package} is not installed"))
}

/// The mlx-c sources that come with mlx-sys.
fn mlx_c_source() -> anyhow::Result<String> {
    let metadata = super::cargo_metadata()?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let found = packages.iter().find(|package| package["name"] == "mlx-sys" && package["version"] == MLX_SYS);
    let manifest = found.and_then(|package| package["manifest_path"].as_str());
    let manifest = manifest.with_context(|| format!("mlx-sys {MLX_SYS} is not among the dependencies"))?;
    let folder = Path::new(manifest).parent().context("a manifest without a folder")?;
    Ok(folder.join("src/mlx-c").display().to_string())
}

fn build_mlx_c(layout: &Layout) -> anyhow::Result<()> {
    let build = layout.mlx.join("mlx-c");
    // A build folder contains absolute paths.
    let _ = fs::remove_dir_all(&build);
    let flags = header_flags().join(" ");
    let bin = layout.venv.join("bin");
    let mut configure = Command::new(bin.join("cmake"));
    configure.args(["-G", "Ninja", "-S"]).arg(&layout.mlx_c).arg("-B").arg(&build);
    configure.arg(format!("-DCMAKE_MAKE_PROGRAM={}", bin.join("ninja").display()));
    configure.arg(format!("-DCMAKE_PREFIX_PATH={}", layout.packages.join("mlx").display()));
    configure.arg(format!("-DCMAKE_CXX_FLAGS={flags}"));
    for option in [
        "MLX_C_USE_SYSTEM_MLX=ON",
        "BUILD_SHARED_LIBS=ON",
        "MLX_C_BUILD_EXAMPLES=OFF",
        "CMAKE_BUILD_TYPE=Release",
    ] {
        configure.arg(format!("-D{option}"));
    }
    step("configuring mlx-c", &mut configure)?;
    let jobs = std::env::var("CARGO_BUILD_JOBS")
        .unwrap_or_else(|_| std::thread::available_parallelism().map_or(2, usize::from).to_string());
    let mut compile = Command::new(bin.join("cmake"));
    step("building mlx-c", compile.arg("--build").arg(&build).args(["--parallel", &jobs]))
}

/// The C interface of our kernels.
fn kernel_headers() -> PathBuf {
    paths::root().join("mlx-cpu-kernels/include")
}

/// Compiler options for MLX's and mlx-c's headers.
fn header_flags() -> Vec<String> {
    let compat = format!("-I{}", kernel_headers().join("compat").display());
    [compat.as_str(), "-include", "half.h", "-include", "format"].map(str::to_owned).to_vec()
}

fn make_bindings(layout: &Layout) -> anyhow::Result<()> {
    let out = layout.mlx.join("out");
    fs::create_dir_all(&out)?;
    let asked = Command::new("cc").arg("-print-file-name=include").output().context("cannot run cc")?;
    let include = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
    // In a process of its own, because libclang is found by an environment variable.
    let mut bindings = Command::new(std::env::current_exe()?);
    bindings.env("LIBCLANG_PATH", layout.packages.join("clang/native")).arg("bindings");
    bindings.arg(&layout.mlx_c).arg(kernel_headers()).arg(include).arg(out);
    step("making bindings", &mut bindings)
}

/// Builds a library that forwards MLX's BLAS calls to OpenBLAS and adds nothing. Benchmarks run other servers with it.
pub(super) fn plain_blas(library: &Path) -> anyhow::Result<()> {
    let openblas = site_packages(&paths::mlx().join("venv"))?.join("scipy_openblas32/lib");
    let sources = paths::root().join("mlx-cpu-kernels/src");
    let mut compile = Command::new("c++");
    compile.args(["-O2", "-shared", "-fPIC", "-DMLXD_PLAIN_OPENBLAS", "-o"]).arg(library);
    compile.arg(format!("-I{}", sources.display())).arg(sources.join("blas/forwarded.cpp"));
    compile.arg(format!("-L{}", openblas.display())).arg("-lscipy_openblas");
    step("building a plain BLAS", compile.arg(format!("-Wl,-rpath,{}", openblas.display())))
}

fn write_cargo_config(layout: &Layout) -> anyhow::Result<()> {
    let folders = [
        layout.mlx.join("mlx-c"),
        layout.packages.join("mlx/lib"),
        layout.packages.join("scipy_openblas32/lib"),
    ];
    let folders: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
    let search: Vec<String> = folders.iter().map(|folder| format!("\"native={folder}\"")).collect();
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let text = format!(
        "# Written by `cargo xtask setup`: stands in for mlx-sys's build script.\n\
         [target.{target}.mlx]\n\
         rustc-link-search = [{}]\n\
         rustc-link-lib = [\"dylib=mlxc\", \"dylib=mlx\", \"dylib=stdc++\"]\n\
         rustc-env = {{ OUT_DIR = \"{}\" }}\n\n\
         [env]\n\
         MLXD_MLX_PATHS = \"{}\"\n\
         MLXD_MLX_HEADERS = \"{}:{}\"\n\
         MLXD_KERNEL_DECLARATIONS = \"{}\"\n",
        search.join(", "),
        layout.mlx.join("out").display(),
        folders.join(":"),
        layout.packages.join("mlx/include").display(),
        layout.mlx_c.display(),
        layout.mlx.join("out/kernels.rs").display(),
    );
    let path = layout.mlx.join("cargo.toml");
    // Left alone when unchanged: a new time stamp would make cargo rebuild.
    if fs::read_to_string(&path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    Ok(fs::write(path, text)?)
}
