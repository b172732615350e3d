//! On Linux: tells the linker where MLX and our BLAS shim lie.
//!
//! `cargo xtask setup` names the folders in `MLXD_MLX_PATHS` (colon-separated). They become the binaries' search path, so that
//! no LD_LIBRARY_PATH is needed. The shim is linked even though nothing in Rust refers to it: being named by the
//! executable itself is what makes MLX call its BLAS instead of the reference one inside the MLX wheel.

fn main() {
    println!("cargo:rerun-if-env-changed=MLXD_MLX_PATHS");
    if let Ok(folders) = std::env::var("MLXD_MLX_PATHS") {
        for folder in folders.split(':') {
            println!("cargo:rustc-link-arg=-L{folder}");
            println!("cargo:rustc-link-search=native={folder}");
        }
        println!("cargo:rustc-link-lib=dylib=mlxd_kernels");
        println!("cargo:rustc-link-arg=-Wl,-rpath,{folders}");
        for argument in ["-Wl,--push-state,--no-as-needed", "-lmlxd_shim", "-Wl,--pop-state"] {
            println!("cargo:rustc-link-arg={argument}");
        }
    }
}
