//! Linux: puts MLX, mlx-c, bindings, shim and kernels together in .mlx/.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use super::{Stamp, tools, venv};
use crate::paths;
use crate::progress::step;

/// What the venv gets; MLX's version is the one that mlx-c of mlx-sys wants.
const PACKAGES: [&str; 5] = [
    "mlx-cpu==0.32.2",
    "cmake==4.4.4",
    "ninja==1.13.2",
    "libclang==18.1.1",
    "scipy-openblas32==0.3.34.481.3",
];
const MLX_SYS: &str = "0.7.0";

/// The sources of our kernels.
const KERNELS: [&str; 6] = [
    include_str!("../../native/kernel.h"),
    include_str!("../../native/functions.h"),
    include_str!("../../native/linear.h"),
    include_str!("../../native/paged.h"),
    include_str!("../../native/weights.h"),
    include_str!("../../native/kernels.cpp"),
];

struct Layout {
    mlx: PathBuf,
    venv: PathBuf,
    packages: PathBuf,
    mlx_c: PathBuf,
}

/// Does every step whose result is not there.
pub(super) fn run() -> anyhow::Result<()> {
    tools::require_compilers()?;
    let mlx = paths::mlx();
    fs::create_dir_all(&mlx)?;
    let environment = mlx.join("venv");
    Stamp::new("venv", &PACKAGES).once(|| venv::make_venv(&environment, &PACKAGES))?;
    let packages = site_packages(&environment)?;
    let layout = Layout { mlx_c: Path::new(&mlx_c_source()?).to_owned(), mlx, venv: environment, packages };
    let half = include_str!("../../native/half.h");
    let format = include_str!("../../native/compat/format");
    Stamp::new("mlx-c", &[MLX_SYS, half, format]).once(|| build_mlx_c(&layout))?;
    Stamp::new("bindings", &[MLX_SYS, half]).once(|| make_bindings(&layout))?;
    let source = include_str!("../../native/shim.c");
    Stamp::new("shim", &[source, &processor()?]).once(|| build_shim(&layout))?;
    let mut kernels = vec![PACKAGES[0], MLX_SYS, half, format];
    kernels.extend(KERNELS);
    let processor = processor()?;
    kernels.push(&processor);
    Stamp::new("kernels", &kernels).once(|| build_kernels(&layout))?;
    write_cargo_config(&layout)
}

fn site_packages(venv: &Path) -> anyhow::Result<PathBuf> {
    let lib = venv.join("lib");
    let entries = fs::read_dir(&lib)
        .with_context(|| format!("{} is missing: remove .mlx and try again", lib.display()))?;
    let pythons = entries.filter_map(Result::ok).map(|entry| entry.path().join("site-packages"));
    pythons.into_iter().find(|path| path.is_dir()).context("the Python environment has no site-packages")
}

/// The mlx-c sources that come with mlx-sys.
fn mlx_c_source() -> anyhow::Result<String> {
    let mut cargo = Command::new("cargo");
    cargo.args(["metadata", "--format-version", "1", "--locked"]).current_dir(paths::root());
    let output = cargo.output().context("cannot run cargo")?;
    if !output.status.success() {
        bail!("cargo metadata failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let found = packages.iter().find(|package| package["name"] == "mlx-sys" && package["version"] == MLX_SYS);
    let manifest = found.and_then(|package| package["manifest_path"].as_str());
    let manifest = manifest.with_context(|| format!("mlx-sys {MLX_SYS} is not among the dependencies"))?;
    let folder = Path::new(manifest).parent().context("a manifest without a folder")?;
    Ok(folder.join("src/mlx-c").display().to_string())
}

fn build_mlx_c(layout: &Layout) -> anyhow::Result<()> {
    let build = layout.mlx.join("mlx-c");
    // A build folder remembers the paths it was made with.
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

/// What the compiler needs to read MLX's and mlx-c's headers.
fn header_flags() -> Vec<String> {
    let mut flags = vec!["-include".to_owned(), paths::own("native/half.h").display().to_string()];
    if !has_format() {
        let compat = paths::own("native/compat").display().to_string();
        flags.extend([format!("-I{compat}"), "-include".into(), format!("{compat}/format")]);
    }
    flags
}

/// Whether the compiler has `<format>` of C++20.
fn has_format() -> bool {
    let mut compiler = Command::new("c++");
    compiler.args(["-std=c++20", "-fsyntax-only", "-include", "format", "-x", "c++", "/dev/null"]);
    compiler.output().is_ok_and(|output| output.status.success())
}

fn make_bindings(layout: &Layout) -> anyhow::Result<()> {
    let out = layout.mlx.join("out");
    fs::create_dir_all(&out)?;
    let asked = Command::new("cc").arg("-print-file-name=include").output().context("cannot run cc")?;
    let include = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
    // In a process of its own, because libclang is found by an environment variable.
    let mut bindings = Command::new(std::env::current_exe()?);
    bindings.env("LIBCLANG_PATH", layout.packages.join("clang/native")).arg("bindings");
    bindings.arg(&layout.mlx_c).arg(out.join("bindings.rs")).arg(paths::own("native/half.h")).arg(include);
    step("making bindings", &mut bindings)
}

/// What the compiler makes of this machine's processor: a folder that moves to another machine is built anew.
fn processor() -> anyhow::Result<String> {
    let mut compiler = Command::new("cc");
    let macros = compiler.args(["-march=native", "-dM", "-E", "-x", "c", "/dev/null"]).output();
    Ok(String::from_utf8_lossy(&macros.context("cannot run cc")?.stdout).into_owned())
}

fn build_shim(layout: &Layout) -> anyhow::Result<()> {
    compile_shim(&layout.packages, &layout.mlx.join("libmlxd_shim.so"), &[])
}

/// A library that hands what MLX calls on to OpenBLAS and does nothing else: what others are measured with.
pub(super) fn plain_blas(library: &Path) -> anyhow::Result<()> {
    compile_shim(&site_packages(&paths::mlx().join("venv"))?, library, &["-DPLAIN_OPENBLAS"])
}

fn compile_shim(packages: &Path, library: &Path, more: &[&str]) -> anyhow::Result<()> {
    let openblas = packages.join("scipy_openblas32/lib");
    let mut compile = Command::new("cc");
    // For this machine only: nothing in .mlx is shipped.
    compile.args(["-O3", "-march=native", "-Wall", "-shared", "-fPIC", "-pthread"]).args(more);
    compile.arg("-o").arg(library);
    compile.arg(paths::own("native/shim.c")).arg(format!("-L{}", openblas.display())).arg("-lscipy_openblas");
    step("building the BLAS shim", compile.arg(format!("-Wl,-rpath,{}", openblas.display())))
}

fn build_kernels(layout: &Layout) -> anyhow::Result<()> {
    let mlx = layout.packages.join("mlx");
    let mut compile = Command::new("c++");
    compile.args([
        "-std=gnu++20",
        "-O3",
        "-march=native",
        "-Wall",
        "-Wno-unused-variable",
        "-shared",
        "-fPIC",
    ]);
    // Loops that are marked become vectors; all else computes as written.
    compile.args(["-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math"]).args(header_flags());
    compile.arg(format!("-I{}", mlx.join("include").display()));
    compile.arg(format!("-I{}", layout.mlx_c.display()));
    compile.arg("-o").arg(layout.mlx.join("libmlxd_kernels.so")).arg(paths::own("native/kernels.cpp"));
    for folder in [&layout.mlx, &mlx.join("lib")] {
        compile.arg(format!("-L{0}", folder.display())).arg(format!("-Wl,-rpath,{}", folder.display()));
    }
    step("building kernels", compile.args(["-lmlxd_shim", "-lmlx"]))
}

fn write_cargo_config(layout: &Layout) -> anyhow::Result<()> {
    let folders = [
        layout.mlx.clone(),
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
         rustc-link-lib = [\"dylib=mlxd_shim\", \"dylib=mlxc\", \"dylib=mlx\", \"dylib=stdc++\", \"dylib=scipy_openblas\"]\n\
         rustc-env = {{ OUT_DIR = \"{}\" }}\n\n\
         [env]\n\
         MLXD_MLX_PATHS = \"{}\"\n",
        search.join(", "),
        layout.mlx.join("out").display(),
        folders.join(":"),
    );
    let path = layout.mlx.join("cargo.toml");
    // Left alone when unchanged: a new time stamp would make cargo look again.
    if fs::read_to_string(&path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    Ok(fs::write(path, text)?)
}
